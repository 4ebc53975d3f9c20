package mcbp_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// TestDuration checks the vectors of the protocol and the table of short durations against the formula.
func TestDuration(t *testing.T) {
	for micros, want := range map[uint64]uint16{
		0: 0, 1: 1, 10: 6, 100: 21, 1000: 79, 10_000: 296, 100_000: 1113, 1_000_000: 4181, math.MaxUint64: 65535,
	} {
		if got := mcbp.EncodeDuration(micros); got != want {
			t.Errorf("EncodeDuration(%d) = %d, want %d", micros, got, want)
		}
	}
	last := uint16(0)
	for micros := range uint64(5000) {
		got := mcbp.EncodeDuration(micros)
		if want := uint16(math.Round(math.Pow(float64(micros)*2, 1/1.74))); got != want {
			t.Fatalf("EncodeDuration(%d) = %d, want %d", micros, got, want)
		}
		if got < last {
			t.Fatalf("EncodeDuration(%d) = %d fell below %d", micros, got, last)
		}
		last = got
	}
	for code := range 65536 {
		if got := mcbp.EncodeDuration(uint64(math.Round(mcbp.DecodeDuration(uint16(code))))); code > 20 && got != uint16(code) {
			t.Fatalf("code %d came back as %d", code, got)
		}
	}
	buf := make([]byte, mcbp.DurationInfoLen)
	mcbp.PutDurationInfo(buf, 1000)
	if us, ok := mcbp.ServerDuration(buf); !ok || us < 950 || us > 1050 {
		t.Errorf("ServerDuration = %v, %v", us, ok)
	}
	if _, ok := mcbp.ServerDuration([]byte{0x1f}); ok {
		t.Error("framing extras that are cut short held a duration")
	}
}

// TestFrameInfos parses framing extras of requests; each line is a rule of wire.md 3.3.
func TestFrameInfos(t *testing.T) {
	long := append([]byte{0x4f, 20 - 15}, "a-user-name-of-20-by"...)
	for name, c := range map[string]struct {
		op     mcbp.Opcode
		in     []byte
		status mcbp.Status
		want   mcbp.RequestInfos
	}{
		"none":               {mcbp.OpSet, nil, 0, mcbp.RequestInfos{}},
		"barrier":            {mcbp.OpGet, []byte{0x00}, 0, mcbp.RequestInfos{Barrier: true}},
		"barrier with body":  {mcbp.OpGet, []byte{0x01, 9}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"majority":           {mcbp.OpSet, []byte{0x11, 1}, 0, mcbp.RequestInfos{Durability: 1}},
		"persist, timeout":   {mcbp.OpSet, []byte{0x13, 3, 0x27, 0x10}, 0, mcbp.RequestInfos{Durability: 3, Timeout: 10_000}},
		"level 0":            {mcbp.OpSet, []byte{0x11, 0}, mcbp.StatusDurabilityInvalid, mcbp.RequestInfos{}},
		"level 4":            {mcbp.OpSet, []byte{0x11, 4}, mcbp.StatusDurabilityInvalid, mcbp.RequestInfos{}},
		"timeout 0":          {mcbp.OpSet, []byte{0x13, 1, 0, 0}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"timeout ffff":       {mcbp.OpSet, []byte{0x13, 1, 0xff, 0xff}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"durability of 2":    {mcbp.OpSet, []byte{0x12, 1, 0}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"durability on GET":  {mcbp.OpGet, []byte{0x11, 1}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"stream id":          {mcbp.OpSet, []byte{0x22, 0, 1}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"impersonate":        {mcbp.OpGet, []byte{0x43, '^', 'm', 'e'}, 0, mcbp.RequestInfos{Impersonate: []byte("^me")}},
		"impersonate long":   {mcbp.OpGet, long, 0, mcbp.RequestInfos{Impersonate: []byte("a-user-name-of-20-by")}},
		"impersonate nobody": {mcbp.OpGet, []byte{0x40}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"impersonate ^":      {mcbp.OpGet, []byte{0x41, '^'}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"preserve":           {mcbp.OpSet, []byte{0x50}, 0, mcbp.RequestInfos{PreserveExpiry: true}},
		"preserve with body": {mcbp.OpSet, []byte{0x51, 0}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"preserve on ADD":    {mcbp.OpAdd, []byte{0x50}, mcbp.StatusNotSupported, mcbp.RequestInfos{}},
		"extra privilege":    {mcbp.OpSet, []byte{0x61, 'x'}, mcbp.StatusUnknownFrameInfo, mcbp.RequestInfos{}},
		"unknown id":         {mcbp.OpSet, []byte{0x30}, mcbp.StatusUnknownFrameInfo, mcbp.RequestInfos{}},
		"escaped id":         {mcbp.OpSet, []byte{0xf0, 1}, mcbp.StatusUnknownFrameInfo, mcbp.RequestInfos{}},
		"cut body":           {mcbp.OpSet, []byte{0x13, 1}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"cut id escape":      {mcbp.OpSet, []byte{0xf0}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"cut length escape":  {mcbp.OpSet, []byte{0x4f}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"both escapes":       {mcbp.OpSet, []byte{0xff, 0, 0}, mcbp.StatusInvalid, mcbp.RequestInfos{}},
		"several": {
			mcbp.OpSet,
			[]byte{0x11, 2, 0x50, 0x41, 'u'},
			0,
			mcbp.RequestInfos{Durability: 2, PreserveExpiry: true, Impersonate: []byte("u")},
		},
	} {
		var got mcbp.RequestInfos
		status, text := got.Parse(c.in, mcbp.Lookup(c.op))
		if status != c.status || (status == 0) != (text == "") {
			t.Errorf("%s: status %v %q, want %v", name, status, text, c.status)
			continue
		}
		if status == mcbp.StatusSuccess && (got.Barrier != c.want.Barrier || got.PreserveExpiry != c.want.PreserveExpiry ||
			got.Durability != c.want.Durability || got.Timeout != c.want.Timeout ||
			string(got.Impersonate) != string(c.want.Impersonate)) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestValidate holds requests against the table: one rule of wire.md 3.5 a line.
func TestValidate(t *testing.T) {
	big := func(n int) []byte { return []byte(strings.Repeat("k", n)) }
	for name, c := range map[string]struct {
		op          mcbp.Opcode
		f           mcbp.Frame
		enabled     uint8
		collections bool
		want        string
	}{
		"good GET":       {mcbp.OpGet, mcbp.Frame{Key: []byte("k")}, 0, false, ""},
		"no key":         {mcbp.OpGet, mcbp.Frame{}, 0, false, "Request must include key"},
		"key of 250":     {mcbp.OpGet, mcbp.Frame{Key: big(250)}, 0, false, ""},
		"key of 251":     {mcbp.OpGet, mcbp.Frame{Key: big(251)}, 0, false, "Key length exceeds 250"},
		"prefixed 251":   {mcbp.OpGet, mcbp.Frame{Key: big(251)}, 0, true, ""},
		"prefixed 252":   {mcbp.OpGet, mcbp.Frame{Key: big(252)}, 0, true, "Key length exceeds 251"},
		"extras on GET":  {mcbp.OpGet, mcbp.Frame{Key: []byte("k"), Extras: big(4)}, 0, false, "Request must not include extras"},
		"value on GET":   {mcbp.OpGet, mcbp.Frame{Key: []byte("k"), Value: big(1)}, 0, false, "Request must not include value"},
		"CAS on GET":     {mcbp.OpGet, mcbp.Frame{Key: []byte("k"), CAS: 1}, 0, false, "Request CAS must not be set"},
		"SET extras":     {mcbp.OpSet, mcbp.Frame{Key: []byte("k")}, 0, false, "Request must include extras of length 8"},
		"b5 extras":      {mcbp.OpGetClusterConfig, mcbp.Frame{Extras: big(8)}, 0, false, "Request must include extras of length 0 or 16"},
		"extras of 200":  {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(200)}, 0, false, "Request must include extras of length 8"},
		"ADD with CAS":   {mcbp.OpAdd, mcbp.Frame{Key: []byte("k"), Extras: big(8), CAS: 1}, 0, false, "Request CAS must not be set"},
		"UNLOCK no CAS":  {mcbp.OpUnlock, mcbp.Frame{Key: []byte("k")}, 0, false, "Request CAS must be set"},
		"NOOP with key":  {mcbp.OpNoop, mcbp.Frame{Key: []byte("k")}, 0, false, "Request must not include key"},
		"map, no value":  {mcbp.OpGetErrorMap, mcbp.Frame{}, 0, false, "Request must include value"},
		"datatype 8":     {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 8}, 7, false, "Request datatype invalid"},
		"json refused":   {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 1}, 0, false, "Datatype (json) not enabled for the connection"},
		"snappy refused": {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 3}, 1, false, "Datatype (snappy) not enabled for the connection"},
		"xattr refused":  {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 4}, 3, false, "Datatype (xattr) not enabled for the connection"},
		"xattr in SET":   {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 4}, 7, false, "Request datatype invalid"},
		"json in GET":    {mcbp.OpGet, mcbp.Frame{Key: []byte("k"), Datatype: 1}, 7, false, "Request datatype invalid"},
		"json in SET":    {mcbp.OpSet, mcbp.Frame{Key: []byte("k"), Extras: big(8), Datatype: 3}, 3, false, ""},
	} {
		if got := mcbp.Lookup(c.op).Validate(&c.f, c.enabled, c.collections); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestOpTable looks at the table as a whole: names are unique, quiet opcodes have a loud twin with the same rules.
func TestOpTable(t *testing.T) {
	names := map[string]mcbp.Opcode{}
	known := 0
	for o := range 256 {
		op := mcbp.Lookup(mcbp.Opcode(o))
		if op == nil {
			continue
		}
		known++
		if other, twice := names[op.Name]; twice {
			t.Errorf("%s is the name of %x and %x", op.Name, other, o)
		}
		names[op.Name] = mcbp.Opcode(o)
		if op.Collection && (op.Key != mcbp.Required || !op.Bucket || !op.VBucket || op.Need == mcbp.NeedNothing) {
			t.Errorf("%s works on a document without key, bucket, vBucket or right", op.Name)
		}
		if op.Extras == 0 {
			t.Errorf("%s allows no length of extras", op.Name)
		}
	}
	for name, o := range names {
		loud, quiet := strings.CutSuffix(name, "_quiet")
		if op := mcbp.Lookup(o); quiet != (op.QuietMiss || op.QuietSuccess) {
			t.Errorf("%s: quiet %v", name, quiet)
		}
		if _, ok := names[loud]; quiet && !ok {
			t.Errorf("%s has no loud twin", name)
		}
	}
	if known != 53 {
		t.Errorf("%d opcodes, want 53: change this number with the table", known)
	}
	if got := mcbp.Opcode(0xd3).String(); got != "unknown_d3" {
		t.Errorf("an unknown opcode is called %q", got)
	}
}

// TestErrorMap reads the document back, checks it against the table, and that version 1 has no attribute of version 2.
func TestErrorMap(t *testing.T) {
	for version := 1; version <= 2; version++ {
		var doc struct {
			Version, Revision int
			Errors            map[string]struct {
				Name, Desc string
				Attrs      []string
			}
		}
		if err := json.Unmarshal(mcbp.ErrorMap(version), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Version != version || doc.Revision < 1 || len(doc.Errors) != len(mcbp.Statuses()) {
			t.Errorf("version %d, revision %d, %d errors", doc.Version, doc.Revision, len(doc.Errors))
		}
		if e := doc.Errors["d"]; e.Name != "ECONFIG_ONLY" {
			t.Errorf("entry d is %+v", e)
		}
		for code, e := range doc.Errors {
			if e.Desc == "" || e.Attrs == nil {
				t.Errorf("%s: no description or attributes", code)
			}
			if joined := strings.Join(e.Attrs, " "); version == 1 &&
				(strings.Contains(joined, "rate-limit") || strings.Contains(joined, "success") || strings.Contains(joined, "item-locked")) {
				t.Errorf("%s has %s in version 1", code, joined)
			}
		}
	}
	last := -1
	for _, s := range mcbp.Statuses() {
		if int(s.Status) <= last || s.Status.Info() == nil || s.Status.Info().Name != s.Name {
			t.Errorf("%v is out of order or not found", s)
		}
		last = int(s.Status)
	}
	if got := mcbp.Status(0x7777).String(); got != "STATUS_7777" {
		t.Errorf("an unknown status is called %q", got)
	}
}

// TestNegotiate decides HELLOs; features are written as their codes.
func TestNegotiate(t *testing.T) {
	offered := mcbp.Features(mcbp.FeatureMutationToken, mcbp.FeatureXError, mcbp.FeatureDuplex, mcbp.FeatureConfigPush,
		mcbp.FeatureConfigPushBrief, mcbp.FeatureJSON)
	list := mcbp.AppendFeatures
	for name, c := range map[string]struct {
		in, want []byte
		fault    bool
	}{
		"nothing":                 {nil, nil, false},
		"odd":                     {[]byte{0, 4, 0}, nil, true},
		"order kept, once":        {list(nil, 7, 4, 7, 0x0e, 4), list(nil, 7, 4), false},
		"unknown ignored":         {list(nil, 0x999, 4, 0xffff), list(nil, 4), false},
		"push without duplex":     {list(nil, 0x0d), nil, true},
		"brief without duplex":    {list(nil, 0x1f), nil, true},
		"push":                    {list(nil, 0x0c, 0x0d), list(nil, 0x0c, 0x0d), false},
		"both pushes":             {list(nil, 0x0d, 0x1f, 0x0c), list(nil, 0x1f, 0x0c), false},
		"macros without xattr":    {list(nil, 0x15), nil, true},
		"macros, xattr unoffered": {list(nil, 0x15, 0x06, 4), list(nil, 4), false},
		"random key alone":        {list(nil, 0x24, 0x06), nil, true},
	} {
		accepted, got, fault := mcbp.Negotiate(nil, c.in, offered)
		if string(got) != string(c.want) || (fault != "") != c.fault {
			t.Errorf("%s: % x, %q; want % x", name, got, fault, c.want)
		}
		if again, ok := mcbp.ParseFeatures(got); !ok || again != accepted {
			t.Errorf("%s: the set is not the answer", name)
		}
	}
}

// TestErrorBody writes and reads error bodies with awkward texts.
func TestErrorBody(t *testing.T) {
	uid := uint64(0x1f)
	for _, c := range []struct {
		body mcbp.ErrorBody
		want string
	}{
		{mcbp.ErrorBody{}, ""},
		{mcbp.ErrorBody{Context: `say "no"` + "\n\\"}, `{"error":{"context":"say \"no\"\u000a\\"}}`},
		{mcbp.ErrorBody{Ref: "r"}, `{"error":{"ref":"r"}}`},
		{mcbp.ErrorBody{Context: "c", Ref: "r"}, `{"error":{"context":"c","ref":"r"}}`},
		{mcbp.ErrorBody{ManifestUID: &uid}, `{"manifest_uid":"1f"}`},
		{mcbp.ErrorBody{Context: "c", ManifestUID: &uid}, `{"manifest_uid":"1f","error":{"context":"c"}}`},
	} {
		text := c.body.Append(nil)
		if string(text) != c.want {
			t.Errorf("%+v: %s, want %s", c.body, text, c.want)
		}
		got, ok := mcbp.ParseErrorBody(text)
		if ok != (c.want != "") || got.Context != c.body.Context || got.Ref != c.body.Ref || (got.ManifestUID == nil) != (c.body.ManifestUID == nil) {
			t.Errorf("%s came back as %+v, %v", text, got, ok)
		}
	}
}

// TestPayloads round-trips the small structures of extras and values.
func TestPayloads(t *testing.T) {
	store := mcbp.StoreExtras{Flags: 0x02000006, Expiry: 3600}
	if got := mcbp.ParseStoreExtras(store.Append(nil)); got != store {
		t.Errorf("%+v", got)
	}
	counter := mcbp.CounterExtras{Delta: 1, Initial: 1 << 63, Expiry: mcbp.CounterNoCreate}
	if got := mcbp.ParseCounterExtras(counter.Append(nil)); got != counter {
		t.Errorf("%+v", got)
	}
	token := mcbp.Token{UUID: 1<<60 + 3, Seqno: 42}
	if got, ok := mcbp.ParseToken(token.Append(nil)); !ok || got != token {
		t.Errorf("%+v", got)
	}
	for _, long := range []bool{false, true} {
		meta := mcbp.DocMeta{Deleted: true, Flags: 1, Expiry: 2, Rev: 3}
		if long {
			meta.Datatype = 3
		}
		if got, ok := mcbp.ParseDocMeta(meta.Append(nil, long)); !ok || got != meta {
			t.Errorf("%+v", got)
		}
	}
	version := mcbp.ConfigVersion{Epoch: 1, Rev: 7}
	if got, ok := mcbp.ParseConfigVersion(version.Append(nil)); !ok || got != version {
		t.Errorf("%+v", got)
	}
	if !(mcbp.ConfigVersion{Epoch: 2, Rev: 1}).Newer(version) || version.Newer(version) || !version.Newer(mcbp.ConfigVersion{Epoch: 1, Rev: 6}) {
		t.Error("order of versions")
	}
	for _, n := range []int{0, 15, 17} {
		if _, ok := mcbp.ParseToken(make([]byte, n)); ok {
			t.Errorf("%d bytes are a token", n)
		}
	}
}
