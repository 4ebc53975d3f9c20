package mcbp

// Opcode says what a request wants; its response repeats it.
type Opcode uint8

// The opcodes that have a line in the table. Opcodes without one are unknown to us (status 81).
const (
	OpGet              Opcode = 0x00
	OpSet              Opcode = 0x01
	OpAdd              Opcode = 0x02
	OpReplace          Opcode = 0x03
	OpDelete           Opcode = 0x04
	OpIncrement        Opcode = 0x05
	OpDecrement        Opcode = 0x06
	OpQuit             Opcode = 0x07
	OpFlush            Opcode = 0x08
	OpGetQ             Opcode = 0x09
	OpNoop             Opcode = 0x0a
	OpVersion          Opcode = 0x0b
	OpGetK             Opcode = 0x0c
	OpGetKQ            Opcode = 0x0d
	OpAppend           Opcode = 0x0e
	OpPrepend          Opcode = 0x0f
	OpStat             Opcode = 0x10
	OpSetQ             Opcode = 0x11
	OpAddQ             Opcode = 0x12
	OpReplaceQ         Opcode = 0x13
	OpDeleteQ          Opcode = 0x14
	OpIncrementQ       Opcode = 0x15
	OpDecrementQ       Opcode = 0x16
	OpQuitQ            Opcode = 0x17
	OpFlushQ           Opcode = 0x18
	OpAppendQ          Opcode = 0x19
	OpPrependQ         Opcode = 0x1a
	OpVerbosity        Opcode = 0x1b
	OpTouch            Opcode = 0x1c
	OpGetAndTouch      Opcode = 0x1d
	OpGetAndTouchQ     Opcode = 0x1e
	OpHello            Opcode = 0x1f
	OpSASLListMechs    Opcode = 0x20
	OpSASLAuth         Opcode = 0x21
	OpSASLStep         Opcode = 0x22
	OpAllVBSeqnos      Opcode = 0x48
	OpGetReplica       Opcode = 0x83
	OpListBuckets      Opcode = 0x87
	OpSelectBucket     Opcode = 0x89
	OpObserveSeqno     Opcode = 0x91
	OpObserve          Opcode = 0x92
	OpGetAndLock       Opcode = 0x94
	OpUnlock           Opcode = 0x95
	OpFailoverLog      Opcode = 0x96
	OpGetMeta          Opcode = 0xa0
	OpGetMetaQ         Opcode = 0xa1
	OpGetClusterConfig Opcode = 0xb5
	OpGetRandomKey     Opcode = 0xb6
	OpGetKeys          Opcode = 0xb8
	OpManifest         Opcode = 0xba
	OpCollectionID     Opcode = 0xbb
	OpScopeID          Opcode = 0xbc
	OpGetErrorMap      Opcode = 0xfe
)

// OpClusterConfigPush is the opcode of the server's own request (magic 82) that carries a cluster configuration. It shares
// its number with OpSet; the magic tells them apart.
const OpClusterConfigPush Opcode = 0x01

// String gives the name used in logs and metrics.
func (o Opcode) String() string {
	if op := Lookup(o); op != nil {
		return op.Name
	}
	const digits = "0123456789abcdef"
	return "unknown_" + string([]byte{digits[o>>4], digits[o&15]})
}
