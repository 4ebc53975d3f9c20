package mcbp

// Status says how a request ended. The zero value is success.
type Status uint16

// The statuses (wire.md 14.1). Their meaning stands in the table below.
const (
	StatusSuccess                 Status = 0x00
	StatusNotFound                Status = 0x01
	StatusExists                  Status = 0x02
	StatusTooBig                  Status = 0x03
	StatusInvalid                 Status = 0x04
	StatusNotStored               Status = 0x05
	StatusBadDelta                Status = 0x06
	StatusNotMyVBucket            Status = 0x07
	StatusNoBucket                Status = 0x08
	StatusLocked                  Status = 0x09
	StatusStreamNotFound          Status = 0x0a
	StatusOpaqueNoMatch           Status = 0x0b
	StatusWouldThrottle           Status = 0x0c
	StatusConfigOnly              Status = 0x0d
	StatusNotLocked               Status = 0x0e
	StatusCASInvalid              Status = 0x0f
	StatusAuthStale               Status = 0x1f
	StatusAuthError               Status = 0x20
	StatusAuthContinue            Status = 0x21
	StatusRange                   Status = 0x22
	StatusRollback                Status = 0x23
	StatusAccess                  Status = 0x24
	StatusNotInitialized          Status = 0x25
	StatusNoEncryptionKey         Status = 0x26
	StatusChecksumMismatch        Status = 0x27
	StatusExpiryOverflow          Status = 0x28
	StatusLockExpiryOverflow      Status = 0x29
	StatusRateLimitedIngress      Status = 0x30
	StatusRateLimitedEgress       Status = 0x31
	StatusTooManyConnections      Status = 0x32
	StatusRateLimitedCommands     Status = 0x33
	StatusBucketSizeLimit         Status = 0x35
	StatusResidentRatioTooLow     Status = 0x36
	StatusDataSizeTooBig          Status = 0x37
	StatusDiskSpaceTooLow         Status = 0x38
	StatusBucketPaused            Status = 0x50
	StatusCancelled               Status = 0x51
	StatusUnknownFrameInfo        Status = 0x80
	StatusUnknownCommand          Status = 0x81
	StatusNoMemory                Status = 0x82
	StatusNotSupported            Status = 0x83
	StatusInternal                Status = 0x84
	StatusBusy                    Status = 0x85
	StatusTempFail                Status = 0x86
	StatusXattrInvalid            Status = 0x87
	StatusUnknownCollection       Status = 0x88
	StatusCannotApplyManifest     Status = 0x8a
	StatusUnknownScope            Status = 0x8c
	StatusStreamIDInvalid         Status = 0x8d
	StatusDurabilityInvalid       Status = 0xa0
	StatusDurabilityImpossible    Status = 0xa1
	StatusSyncWriteInProgress     Status = 0xa2
	StatusSyncWriteAmbiguous      Status = 0xa3
	StatusSyncWriteRecommit       Status = 0xa4
	StatusScanCancelled           Status = 0xa5
	StatusScanMore                Status = 0xa6
	StatusScanComplete            Status = 0xa7
	StatusUUIDNotEqual            Status = 0xa8
	StatusPathNotFound            Status = 0xc0
	StatusPathMismatch            Status = 0xc1
	StatusPathInvalid             Status = 0xc2
	StatusPathTooBig              Status = 0xc3
	StatusDocTooDeep              Status = 0xc4
	StatusCannotInsert            Status = 0xc5
	StatusNotJSON                 Status = 0xc6
	StatusNumberRange             Status = 0xc7
	StatusDeltaInvalid            Status = 0xc8
	StatusPathExists              Status = 0xc9
	StatusValueTooDeep            Status = 0xca
	StatusInvalidCombo            Status = 0xcb
	StatusMultiPathFailure        Status = 0xcc
	StatusSuccessDeleted          Status = 0xcd
	StatusXattrFlagCombo          Status = 0xce
	StatusXattrKeyCombo           Status = 0xcf
	StatusUnknownMacro            Status = 0xd0
	StatusUnknownVattr            Status = 0xd1
	StatusCannotModifyVattr       Status = 0xd2
	StatusMultiPathFailureDeleted Status = 0xd3
	StatusXattrOrder              Status = 0xd4
	StatusUnknownVattrMacro       Status = 0xd5
	StatusCannotRevive            Status = 0xd6
	StatusDeletedWithValue        Status = 0xd7
	StatusNotBinary               Status = 0xd8
)

// StatusInfo is a status's line in the table that both the server and the error map are made from.
type StatusInfo struct {
	Status Status
	Name   string
	Attrs  []string // what clients derive their behaviour from, as in the error map
	Desc   string   // one sentence for people, without a full stop
}

// Info finds the line of a status; nil if the status is not in the table. The line must not be changed.
func (s Status) Info() *StatusInfo {
	lo, hi := 0, len(statuses)
	for lo < hi {
		mid := (lo + hi) / 2
		if statuses[mid].Status < s {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(statuses) && statuses[lo].Status == s {
		return &statuses[lo]
	}
	return nil
}

// String gives the name of the status, or its number if it has none.
func (s Status) String() string {
	if info := s.Info(); info != nil {
		return info.Name
	}
	const digits = "0123456789abcdef"
	return "STATUS_" + string([]byte{digits[s>>12], digits[s>>8&15], digits[s>>4&15], digits[s&15]})
}

// Desc gives the status's meaning as a sentence for people, without a full stop.
func (s Status) Desc() string {
	if info := s.Info(); info != nil {
		return info.Desc
	}
	return s.String()
}

// Statuses lists the whole table in the order of the codes. It must not be changed.
func Statuses() []StatusInfo { return statuses }

// Sets of attributes that many statuses share.
//
//nolint:gochecknoglobals // constant lists
var (
	attrsSuccess            = []string{"success"}
	attrsItem               = []string{"item-only"}
	attrsItemInput          = []string{"item-only", "invalid-input"}
	attrsInternalInput      = []string{"internal", "invalid-input"}
	attrsInternalItem       = []string{"internal", "item-only"}
	attrsConfigInput        = []string{"fetch-config", "invalid-input"}
	attrsConnection         = []string{"conn-state-invalidated"}
	attrsItemLocked         = []string{"item-locked", "item-only", "retry-now"}
	attrsRateLimit          = []string{"temp", "retry-later", "rate-limit"}
	attrsConfigRetry        = []string{"fetch-config", "retry-now"}
	attrsConnectionAuth     = []string{"conn-state-invalidated", "auth"}
	attrsSpecial            = []string{"special-handling"}
	attrsInput              = []string{"invalid-input"}
	attrsDcpSpecial         = []string{"dcp", "special-handling"}
	attrsSupport            = []string{"support"}
	attrsConstraint         = []string{"item-only", "system-constraint", "no-retry"}
	attrsConnectionRate     = []string{"conn-state-invalidated", "rate-limit"}
	attrsItemRetryNow       = []string{"item-only", "retry-now"}
	attrsTempLater          = []string{"temp", "retry-later"}
	attrsInternalConnection = []string{"internal", "conn-state-invalidated"}
	attrsTempNow            = []string{"temp", "retry-now"}
	attrsItemRetryLater     = []string{"item-only", "retry-later"}
	attrsSubdocItem         = []string{"subdoc", "item-only"}
	attrsSubdocInput        = []string{"subdoc", "invalid-input"}
	attrsSubdocInputItem    = []string{"subdoc", "invalid-input", "item-only"}
	attrsSubdocSpecial      = []string{"subdoc", "special-handling"}
	attrsDeletedSuccess     = []string{"item-deleted", "success", "subdoc"}
	attrsDeletedSpecial     = []string{"item-deleted", "subdoc", "special-handling"}
)

// statuses is sorted by code.
//
//nolint:gochecknoglobals // a constant table
var statuses = []StatusInfo{
	{StatusSuccess, "SUCCESS", attrsSuccess, "The operation worked"},
	{StatusNotFound, "KEY_ENOENT", attrsItem, "The document does not exist"},
	{StatusExists, "KEY_EEXISTS", attrsItem, "The document exists, or has another CAS"},
	{StatusTooBig, "E2BIG", attrsItemInput, "The value is too large"},
	{StatusInvalid, "EINVAL", attrsInternalInput, "The request is not valid"},
	{StatusNotStored, "NOT_STORED", attrsInternalItem, "There is no document to add to"},
	{StatusBadDelta, "DELTA_BADVAL", attrsItemInput, "The value is not a number that can be counted"},
	{StatusNotMyVBucket, "NOT_MY_VBUCKET", attrsConfigInput, "Another node serves this vBucket"},
	{StatusNoBucket, "NO_BUCKET", attrsConnection, "The connection has no bucket"},
	{StatusLocked, "LOCKED", attrsItemLocked, "The document is locked"},
	{StatusStreamNotFound, "STREAM_NOT_FOUND", attrsConnection, "There is no such stream"},
	{StatusOpaqueNoMatch, "OPAQUE_NO_MATCH", attrsConnection, "The stream has another opaque"},
	{StatusWouldThrottle, "EWOULD_THROTTLE", attrsRateLimit, "The request would be throttled"},
	{StatusConfigOnly, "ECONFIG_ONLY", attrsConfigRetry, "The bucket serves its configuration only"},
	{StatusNotLocked, "NOT_LOCKED", attrsItem, "The document is not locked"},
	{StatusCASInvalid, "CAS_VALUE_INVALID", attrsItem, "The CAS is not valid"},
	{StatusAuthStale, "AUTH_STALE", attrsConnectionAuth, "The login has expired"},
	{StatusAuthError, "AUTH_ERROR", attrsConnectionAuth, "User name or password is wrong"},
	{StatusAuthContinue, "AUTH_CONTINUE", attrsSpecial, "The login goes on with another step"},
	{StatusRange, "ERANGE", attrsInput, "A value is out of range"},
	{StatusRollback, "ROLLBACK", attrsDcpSpecial, "The reader must roll back first"},
	{StatusAccess, "EACCESS", attrsSupport, "The user lacks a privilege"},
	{StatusNotInitialized, "NOT_INITIALIZED", attrsConnection, "The node is not initialised"},
	{StatusNoEncryptionKey, "ENCRYPTION_KEY_NOT_AVAILABLE", attrsSpecial, "The encryption key is not available"},
	{StatusChecksumMismatch, "CHECKSUM_MISMATCH", attrsSpecial, "A checksum does not match"},
	{StatusExpiryOverflow, "EXPIRY_OVERFLOW", attrsConstraint, "The expiry time is too large"},
	{StatusLockExpiryOverflow, "LOCK_EXPIRY_OVERFLOW", attrsConstraint, "The lock time is too large"},
	{StatusRateLimitedIngress, "RATE_LIMITED_NETWORK_INGRESS", attrsRateLimit, "Too many bytes were sent"},
	{StatusRateLimitedEgress, "RATE_LIMITED_NETWORK_EGRESS", attrsRateLimit, "Too many bytes were fetched"},
	{StatusTooManyConnections, "RATE_LIMITED_MAX_CONNECTIONS", attrsConnectionRate, "Too many connections are open"},
	{StatusRateLimitedCommands, "RATE_LIMITED_MAX_COMMANDS", attrsRateLimit, "Too many commands were sent"},
	{StatusBucketSizeLimit, "BUCKET_SIZE_LIMIT_EXCEEDED", attrsConstraint, "The bucket has reached its size limit"},
	{StatusResidentRatioTooLow, "BUCKET_RESIDENT_RATIO_TOO_LOW", attrsConstraint, "Too little of the bucket is in memory"},
	{StatusDataSizeTooBig, "BUCKET_DATA_SIZE_TOO_BIG", attrsConstraint, "The bucket holds too much data"},
	{StatusDiskSpaceTooLow, "BUCKET_DISK_SPACE_TOO_LOW", attrsConstraint, "Too little disk space is left"},
	{StatusBucketPaused, "BUCKET_PAUSED", attrsSupport, "The bucket is paused"},
	{StatusCancelled, "CANCELLED", attrsItemRetryNow, "The operation was cancelled"},
	{StatusUnknownFrameInfo, "UNKNOWN_FRAME_INFO", attrsSupport, "A framing extra is not known"},
	{StatusUnknownCommand, "UNKNOWN_COMMAND", attrsSupport, "The command is not known"},
	{StatusNoMemory, "ENOMEM", attrsTempLater, "The bucket is out of memory"},
	{StatusNotSupported, "NOT_SUPPORTED", attrsSupport, "The command is not supported here"},
	{StatusInternal, "EINTERNAL", attrsInternalConnection, "The server met an internal error"},
	{StatusBusy, "EBUSY", attrsTempNow, "The server is busy"},
	{StatusTempFail, "ETMPFAIL", attrsTempNow, "The server cannot do this right now"},
	{StatusXattrInvalid, "XATTR_EINVAL", attrsInput, "The extended attributes are not valid"},
	{StatusUnknownCollection, "UNKNOWN_COLLECTION", attrsInput, "The collection does not exist"},
	{StatusCannotApplyManifest, "CANNOT_APPLY_COLLECTIONS_MANIFEST", attrsInput, "The collections manifest cannot be applied"},
	{StatusUnknownScope, "UNKNOWN_SCOPE", attrsInput, "The scope does not exist"},
	{StatusStreamIDInvalid, "DCP_STREAM_ID_INVALID", attrsInput, "The stream id is not valid"},
	{StatusDurabilityInvalid, "DURABILITY_INVALID_LEVEL", attrsInput, "The durability level is not valid here"},
	{StatusDurabilityImpossible, "DURABILITY_IMPOSSIBLE", attrsItemInput, "There are too few copies for this durability level"},
	{StatusSyncWriteInProgress, "SYNC_WRITE_IN_PROGRESS", attrsItemRetryLater, "Another durable write of this document is under way"},
	{StatusSyncWriteAmbiguous, "SYNC_WRITE_AMBIGUOUS", attrsItem, "The durable write was not confirmed in time"},
	{StatusSyncWriteRecommit, "SYNC_WRITE_RE_COMMIT_IN_PROGRESS", attrsItemRetryLater, "An earlier durable write is being completed"},
	{StatusScanCancelled, "RANGE_SCAN_CANCELLED", attrsSuccess, "The range scan was cancelled"},
	{StatusScanMore, "RANGE_SCAN_MORE", attrsSuccess, "The range scan has more"},
	{StatusScanComplete, "RANGE_SCAN_COMPLETE", attrsSuccess, "The range scan is complete"},
	{StatusUUIDNotEqual, "VBUUID_NOT_EQUAL", attrsInput, "The vBucket has another history"},
	{StatusPathNotFound, "SUBDOC_PATH_ENOENT", attrsSubdocItem, "The path does not exist"},
	{StatusPathMismatch, "SUBDOC_PATH_MISMATCH", attrsSubdocItem, "The path leads through a value of another type"},
	{StatusPathInvalid, "SUBDOC_PATH_EINVAL", attrsSubdocInput, "The path is not valid"},
	{StatusPathTooBig, "SUBDOC_PATH_E2BIG", attrsSubdocInput, "The path is too long"},
	{StatusDocTooDeep, "SUBDOC_DOC_E2DEEP", attrsSubdocInput, "The document is nested too deeply"},
	{StatusCannotInsert, "SUBDOC_VALUE_CANTINSERT", attrsSubdocInput, "The value cannot be inserted"},
	{StatusNotJSON, "SUBDOC_DOC_NOTJSON", attrsSubdocItem, "The document is not JSON"},
	{StatusNumberRange, "SUBDOC_NUM_ERANGE", attrsSubdocItem, "The number is out of range"},
	{StatusDeltaInvalid, "SUBDOC_DELTA_EINVAL", attrsSubdocItem, "The delta is not valid"},
	{StatusPathExists, "SUBDOC_PATH_EEXISTS", attrsSubdocItem, "The path exists"},
	{StatusValueTooDeep, "SUBDOC_VALUE_ETOODEEP", attrsSubdocInputItem, "The value would be nested too deeply"},
	{StatusInvalidCombo, "SUBDOC_INVALID_COMBO", attrsSubdocInput, "The commands cannot be combined"},
	{StatusMultiPathFailure, "SUBDOC_MULTI_PATH_FAILURE", attrsSubdocSpecial, "Some paths failed"},
	{StatusSuccessDeleted, "SUBDOC_SUCCESS_DELETED", attrsDeletedSuccess, "The operation worked on a deleted document"},
	{StatusXattrFlagCombo, "SUBDOC_XATTR_INVALID_FLAG_COMBO", attrsSubdocInput, "The attribute flags cannot be combined"},
	{StatusXattrKeyCombo, "SUBDOC_XATTR_INVALID_KEY_COMBO", attrsSubdocInput, "The attribute keys cannot be combined"},
	{StatusUnknownMacro, "SUBDOC_XATTR_UNKNOWN_MACRO", attrsSubdocInput, "The macro is not known"},
	{StatusUnknownVattr, "SUBDOC_XATTR_UNKNOWN_VATTR", attrsSubdocInput, "The virtual attribute is not known"},
	{StatusCannotModifyVattr, "SUBDOC_XATTR_CANT_MODIFY_VATTR", attrsSubdocInput, "A virtual attribute cannot be changed"},
	{StatusMultiPathFailureDeleted, "SUBDOC_MULTI_PATH_FAILURE_DELETED", attrsDeletedSpecial, "Some paths failed on a deleted document"},
	{StatusXattrOrder, "SUBDOC_INVALID_XATTR_ORDER", attrsSubdocInput, "Attributes must come first"},
	{StatusUnknownVattrMacro, "SUBDOC_XATTR_UNKNOWN_VATTR_MACRO", attrsSubdocInput, "The virtual attribute macro is not known"},
	{StatusCannotRevive, "SUBDOC_CAN_ONLY_REVIVE_DELETED_DOCUMENTS", attrsSubdocItem, "Only a deleted document can be revived"},
	{StatusDeletedWithValue, "SUBDOC_DELETED_DOCUMENT_CANT_HAVE_VALUE", attrsSubdocItem, "A deleted document cannot have a value"},
	{StatusNotBinary, "SUBDOC_FIELD_NOT_BINARY_VALUE", attrsSubdocItem, "The attribute is not a binary value"},
}
