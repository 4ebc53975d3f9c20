package mcbp

import "encoding/binary"

// Feature is something that HELLO negotiates (wire.md 4.4).
type Feature uint16

// The features that clients ask for. Some are never granted.
const (
	FeatureTLS              Feature = 0x02
	FeatureNoDelay          Feature = 0x03
	FeatureMutationToken    Feature = 0x04
	FeatureDelay            Feature = 0x05
	FeatureXattr            Feature = 0x06
	FeatureXError           Feature = 0x07
	FeatureSelectBucket     Feature = 0x08
	FeatureSnappy           Feature = 0x0a
	FeatureJSON             Feature = 0x0b
	FeatureDuplex           Feature = 0x0c
	FeatureConfigPush       Feature = 0x0d
	FeatureUnordered        Feature = 0x0e
	FeatureTracing          Feature = 0x0f
	FeatureAltRequest       Feature = 0x10
	FeatureSyncReplication  Feature = 0x11
	FeatureCollections      Feature = 0x12
	FeatureSnappyEverywhere Feature = 0x13
	FeaturePreserveExpiry   Feature = 0x14
	FeatureVattr            Feature = 0x15
	FeaturePITR             Feature = 0x16
	FeatureCreateAsDeleted  Feature = 0x17
	FeatureDocumentMacros   Feature = 0x18
	FeatureReplaceWithXattr Feature = 0x19
	FeatureResourceUnits    Feature = 0x1a
	FeatureThrottleReplies  Feature = 0x1b
	FeatureReplicaSubdoc    Feature = 0x1c
	FeatureKnownConfig      Feature = 0x1d
	FeatureDedupeConfig     Feature = 0x1e
	FeatureConfigPushBrief  Feature = 0x1f
	FeatureManyXattrs       Feature = 0x20
	FeatureBinaryXattr      Feature = 0x21
	FeatureScanXattrs       Feature = 0x22
	FeatureReplicaDeleted   Feature = 0x23
	FeatureRandomKeyXattrs  Feature = 0x24
	FeatureMutateWithMeta   Feature = 0x25
	FeatureDCPSkipDeletes   Feature = 0x26
)

// FeatureSet is a set of features. Codes above 63 do not exist.
type FeatureSet uint64

// Features makes a set.
func Features(list ...Feature) FeatureSet {
	var s FeatureSet
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

// Has reports whether f is in the set.
func (s FeatureSet) Has(f Feature) bool { return f < 64 && s&(1<<f) != 0 }

// HasAny reports whether one of the features is in the set.
func (s FeatureSet) HasAny(other FeatureSet) bool { return s&other != 0 }

// AppendFeatures appends the form that HELLO carries.
func AppendFeatures(dst []byte, list ...Feature) []byte {
	for _, f := range list {
		dst = binary.BigEndian.AppendUint16(dst, uint16(f))
	}
	return dst
}

// ParseFeatures reads what HELLO carries, for example a server's answer. Codes above 63 are left out; ok is false if the
// length is odd.
func ParseFeatures(b []byte) (s FeatureSet, ok bool) {
	if len(b)%2 != 0 {
		return 0, false
	}
	for ; len(b) > 0; b = b[2:] {
		if f := Feature(binary.BigEndian.Uint16(b)); f < 64 {
			s |= 1 << f
		}
	}
	return s, true
}

// Negotiate decides a HELLO: of the features requested, those offered are accepted, in the order of the request. The answer
// is appended to dst. Unknown and repeated codes are ignored. When both forms of configuration push are asked for, only the
// brief one is accepted. fault is not empty if the request must be answered with status 04 and that context.
func Negotiate(dst, requested []byte, offered FeatureSet) (accepted FeatureSet, answer []byte, fault string) {
	asked, ok := ParseFeatures(requested)
	if !ok {
		return 0, dst, "Request value must be a list of 16-bit codes"
	}
	if fault := dependencyFault(asked); fault != "" {
		return 0, dst, fault
	}
	grant := asked & offered
	if grant.Has(FeatureConfigPushBrief) {
		grant &^= Features(FeatureConfigPush)
	}
	for ; len(requested) > 0; requested = requested[2:] {
		f := Feature(binary.BigEndian.Uint16(requested))
		if !grant.Has(f) || accepted.Has(f) {
			continue
		}
		accepted |= 1 << f
		dst = AppendFeatures(dst, f)
	}
	return accepted, dst, ""
}

func dependencyFault(asked FeatureSet) string {
	needsDuplex := Features(FeatureConfigPush, FeatureConfigPushBrief)
	needsXattr := Features(FeatureVattr, FeatureDocumentMacros, FeatureScanXattrs)
	forRandom := Features(FeatureXattr, FeatureJSON, FeatureSnappyEverywhere)
	switch {
	case asked.HasAny(needsDuplex) && !asked.Has(FeatureDuplex):
		return "Configuration push needs Duplex"
	case asked.HasAny(needsXattr) && !asked.Has(FeatureXattr):
		return "Virtual attributes, document macros and scans with attributes need XATTR"
	case asked.Has(FeatureRandomKeyXattrs) && asked&forRandom != forRandom:
		return "Random key with attributes needs XATTR, JSON and SnappyEverywhere"
	}
	return ""
}

// Names of the SASL mechanisms, as the protocol spells them (wire.md 4.5).
const (
	MechPlain       = "PLAIN"
	MechSCRAMSHA1   = "SCRAM-SHA1"
	MechSCRAMSHA256 = "SCRAM-SHA256"
	MechSCRAMSHA512 = "SCRAM-SHA512"

	MaxMechanism = 64 // bytes of a mechanism's name; longer ones are invalid rather than unknown
)
