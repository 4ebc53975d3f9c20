package mcserver

import (
	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
)

// offered are the features whose obligations are met (wire.md 4.4). Sub-document features follow with sub-document.
func offered() mcbp.FeatureSet {
	return mcbp.Features(
		mcbp.FeatureNoDelay, mcbp.FeatureMutationToken, mcbp.FeatureXError, mcbp.FeatureSelectBucket, mcbp.FeatureSnappy,
		mcbp.FeatureJSON, mcbp.FeatureDuplex, mcbp.FeatureConfigPush, mcbp.FeatureTracing, mcbp.FeatureAltRequest,
		mcbp.FeatureSyncReplication, mcbp.FeatureCollections, mcbp.FeatureSnappyEverywhere, mcbp.FeaturePreserveExpiry,
		mcbp.FeatureKnownConfig, mcbp.FeatureDedupeConfig, mcbp.FeatureConfigPushBrief,
	)
}

// session is what a connection's bootstrap has settled. It is touched by the connection's goroutine only.
type session struct {
	agent       string
	localID     string // of the connection, as the client calls it in its own logs
	greeted     bool   // HELLO was sent
	features    mcbp.FeatureSet
	datatypes   value.Datatype // bits that were negotiated
	collections bool           // keys carry a collection prefix
	traces      bool           // replies carry the server's duration

	identity *auth.Identity // nil before login
	access   auth.Access    // of identity in bucket
	stale    bool           // the user is gone
	builtin  bool           // identity is in no directory; access never changes
	scram    *auth.SCRAM    // between SASL_AUTH and SASL_STEP
	actor    actor

	bucket *data.Bucket // nil: none is selected
	counts *opNumbers   // of bucket

	told struct { // the newest configuration that the client has been given for the selected bucket
		known   bool
		version mcbp.ConfigVersion
	}
}

// actor is the user for whom the last impersonated request was run; requests of one user come in rows.
type actor struct {
	name   string
	access auth.Access
	stale  bool
}

// replyHead is the length of a reply before its extras.
func (s *session) replyHead() int {
	if s.traces {
		return mcbp.HeaderLen + mcbp.DurationInfoLen
	}
	return mcbp.HeaderLen
}

// greet sets what HELLO has negotiated; everything that an earlier HELLO had settled is gone.
func (s *session) greet(features mcbp.FeatureSet) {
	s.greeted = true
	s.features = features
	s.collections = features.Has(mcbp.FeatureCollections)
	s.traces = features.Has(mcbp.FeatureTracing)
	s.datatypes = 0
	if features.Has(mcbp.FeatureJSON) {
		s.datatypes |= value.JSON
	}
	if features.HasAny(mcbp.Features(mcbp.FeatureSnappy, mcbp.FeatureSnappyEverywhere)) {
		s.datatypes |= value.Snappy
	}
}

// bucketName is the name of the selected bucket, empty if there is none.
func (s *session) bucketName() string {
	if s.bucket == nil {
		return ""
	}
	return s.bucket.Name()
}

// bucketGone reports whether the selected bucket is being dropped. Its connections end: clients that went on would mix the
// collections of the old and of a new bucket of the same name (wire.md P21).
func (s *session) bucketGone() bool {
	if s.bucket == nil {
		return false
	}
	select {
	case <-s.bucket.Gone():
		return true
	default:
		return false
	}
}

// selectBucket makes b the session's bucket; nil leaves the present one.
func (c *conn) selectBucket(b *data.Bucket) {
	s := &c.session
	s.bucket = b
	s.told.known = false
	s.counts = c.server.numbers.ops(s.bucketName())
	s.refresh(c.server.auth)
	s.actor = actor{}
	c.traced.bucket = c.server.options.Trace.Intern(s.bucketName())
	c.introduce()
}

// introduce tells the statistics who this is.
func (c *conn) introduce() {
	s := &c.session
	who := introduction{agent: s.agent, bucket: s.bucketName()}
	if s.identity != nil {
		who.user = s.identity.String()
	}
	c.shown.Store(&who)
}

// login makes id the session's user. The bucket has to be selected again.
func (c *conn) login(id *auth.Identity) {
	c.session.identity = id
	c.selectBucket(nil)
	c.arm()
	if c.nudged.Load() {
		c.nudge() // arm may have taken away the deadline of a nudge that was not attended to yet
	}
}

// refresh works out the session's rights anew.
func (s *session) refresh(dir *auth.Directory) {
	if s.builtin {
		return
	}
	s.access = dir.Access(s.identity, s.bucketName())
	_, err := dir.RolesOf(s.identity)
	s.stale = err != nil
}

// renew brings the session's rights up to date, if anything has changed since. auth.ErrStale: the user is gone.
func (s *session) renew(dir *auth.Directory) error {
	if s.access.Version() != dir.Version() {
		s.refresh(dir)
	}
	if s.stale {
		return auth.ErrStale
	}
	return nil
}

// rights gives the rights under which q runs. The directory may have changed since the last request.
func (c *conn) rights(q *request) (*auth.Access, error) {
	s := &c.session
	if err := s.renew(c.server.auth); err != nil {
		return nil, err
	}
	if len(q.infos.Impersonate) == 0 {
		return &s.access, nil
	}
	if !s.access.Has(auth.Impersonate) {
		return nil, auth.ErrNotAllowed
	}
	a := &s.actor
	if string(q.infos.Impersonate) != a.name || a.access.Version() != c.server.auth.Version() {
		a.name = string(q.infos.Impersonate)
		id, err := c.server.auth.Impersonate(a.name)
		a.stale = err != nil
		a.access = c.server.auth.Access(id, s.bucketName())
	}
	if a.stale {
		return nil, auth.ErrStale
	}
	return &a.access, nil
}

// allowed reports whether rights cover what an operation needs in the default collection.
func allowed(a *auth.Access, need mcbp.Need) bool {
	switch need {
	case mcbp.NeedRead:
		return a.HasDefault(auth.Read)
	case mcbp.NeedUpsert:
		return a.HasDefault(auth.Upsert)
	case mcbp.NeedInsert:
		return a.HasAny(auth.Insert | auth.Upsert)
	case mcbp.NeedDelete:
		return a.HasDefault(auth.Delete)
	case mcbp.NeedReadUpsert:
		return a.HasDefault(auth.Read | auth.Upsert)
	case mcbp.NeedNothing, mcbp.NeedLogin, mcbp.NeedOwnCheck:
	}
	return true
}

// allowedIn is allowed for a collection other than the default one.
func allowedIn(have auth.Privilege, need mcbp.Need) bool {
	switch need {
	case mcbp.NeedRead:
		return have&auth.Read != 0
	case mcbp.NeedUpsert:
		return have&auth.Upsert != 0
	case mcbp.NeedInsert:
		return have&(auth.Insert|auth.Upsert) != 0
	case mcbp.NeedDelete:
		return have&auth.Delete != 0
	case mcbp.NeedReadUpsert:
		return have&auth.Read != 0 && have&auth.Upsert != 0
	case mcbp.NeedNothing, mcbp.NeedLogin, mcbp.NeedOwnCheck:
	}
	return true
}

// collectionName finds the names of a collection by its id.
func collectionName(m *spec.Manifest, id uint32) (scope, collection string, ok bool) {
	for i := range m.Scopes {
		for j := range m.Scopes[i].Collections {
			if m.Scopes[i].Collections[j].ID == id {
				return m.Scopes[i].Name, m.Scopes[i].Collections[j].Name, true
			}
		}
	}
	return "", "", false
}
