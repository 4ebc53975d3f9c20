package mcbp

// Rule says whether a part of a request must be there.
type Rule uint8

// The rules.
const (
	Forbidden Rule = iota // must be empty (zero for the CAS)
	Required
	Optional
)

// Need names what a user must be allowed to do; the server translates it into its privileges (wire.md 19.1).
type Need uint8

// The needs.
const (
	NeedNothing    Need = iota // answered before authentication too
	NeedLogin                  // any authenticated user
	NeedRead                   // read documents
	NeedUpsert                 // write documents
	NeedInsert                 // Insert or Upsert
	NeedDelete                 // delete documents
	NeedReadUpsert             // both
	NeedOwnCheck               // the executor decides, as STAT does by group
	numNeeds       = iota
)

// Class groups opcodes for statistics.
type Class uint8

// The classes.
const (
	ClassOther Class = iota
	ClassGet
	ClassStore
	ClassDelete
	ClassCounter
	ClassSubdoc
	NumClasses = iota
)

// String gives the name used as a metric's label.
func (c Class) String() string {
	return [...]string{"other", "get", "store", "delete", "counter", "subdoc"}[c]
}

// Op is an opcode's line in the table (wire.md 7.1).
type Op struct {
	Name   string
	Extras uint64 // bit n is set if n bytes of extras are allowed
	Key    Rule
	Value  Rule
	CAS    Rule
	Need   Need
	Class  Class

	Collection     bool // the key carries a collection prefix on connections with collections
	Bucket         bool // a bucket must be selected
	VBucket        bool // the vBucket field names one
	Durability     bool // the durability frame is allowed
	PreserveExpiry bool // the preserve-expiry frame is allowed
	Datatype       bool // the value may be typed JSON and Snappy
	Session        bool // changes what later requests of the connection mean

	QuietMiss    bool // says nothing when the document is missing
	QuietSuccess bool // says nothing when it worked
}

// Lookup finds the line of an opcode; nil for opcodes that we do not know. The line must not be changed.
func Lookup(o Opcode) *Op {
	if op := &table[o]; op.Name != "" {
		return op
	}
	return nil
}

func lens(n ...int) uint64 {
	var mask uint64
	for _, l := range n {
		mask |= 1 << l
	}
	return mask
}

func read(name string) Op {
	return Op{
		Name: name, Extras: lens(0), Key: Required, Need: NeedRead, Class: ClassGet,
		Collection: true, Bucket: true, VBucket: true,
	}
}

// write is a line of the operations that bring a value.
func write(name string, extras int, cas Rule, need Need) Op {
	op := read(name)
	op.Extras, op.Value, op.CAS, op.Need = lens(extras), Optional, cas, need
	op.Class, op.Durability, op.Datatype = ClassStore, true, true
	return op
}

func (o Op) with(change func(*Op)) Op { change(&o); return o }

func preserve(o *Op)     { o.PreserveExpiry = true }
func quietMiss(o *Op)    { o.Name += "_quiet"; o.QuietMiss = true }
func quietSuccess(o *Op) { o.Name += "_quiet"; o.QuietSuccess = true }

// table is what the protocol allows, by opcode.
//
//nolint:gochecknoglobals // a constant table
var table = makeTable()

func makeTable() [256]Op {
	var t [256]Op
	documents(&t)
	others(&t)
	bootstrap(&t)
	for loud, quiet := range map[Opcode]Opcode{OpGet: OpGetQ, OpGetK: OpGetKQ, OpGetAndTouch: OpGetAndTouchQ, OpGetMeta: OpGetMetaQ} {
		t[quiet] = t[loud].with(quietMiss)
	}
	for loud, quiet := range map[Opcode]Opcode{
		OpSet: OpSetQ, OpAdd: OpAddQ, OpReplace: OpReplaceQ, OpDelete: OpDeleteQ, OpIncrement: OpIncrementQ,
		OpDecrement: OpDecrementQ, OpAppend: OpAppendQ, OpPrepend: OpPrependQ, OpQuit: OpQuitQ, OpFlush: OpFlushQ,
	} {
		t[quiet] = t[loud].with(quietSuccess)
	}
	return t
}

// documents fills in the operations on one document.
func documents(t *[256]Op) {
	t[OpGet] = read("get")
	t[OpGetK] = read("get_with_key")
	t[OpGetReplica] = read("get_replica")
	t[OpSet] = write("set", 8, Optional, NeedUpsert).with(preserve)
	t[OpReplace] = write("replace", 8, Optional, NeedUpsert).with(preserve)
	t[OpAdd] = write("add", 8, Forbidden, NeedInsert)
	t[OpAppend] = write("append", 0, Optional, NeedUpsert).with(preserve)
	t[OpPrepend] = write("prepend", 0, Optional, NeedUpsert).with(preserve)
	t[OpDelete] = read("delete").with(func(o *Op) { o.CAS, o.Need, o.Class, o.Durability = Optional, NeedDelete, ClassDelete, true })
	counter := func(o *Op) {
		o.Extras, o.Need, o.Class, o.Durability, o.PreserveExpiry = lens(20), NeedReadUpsert, ClassCounter, true, true
	}
	t[OpIncrement] = read("increment").with(counter)
	t[OpDecrement] = read("decrement").with(counter)
	t[OpTouch] = read("touch").with(func(o *Op) { o.Extras, o.Need, o.Class, o.Durability = lens(4), NeedUpsert, ClassStore, true })
	t[OpGetAndTouch] = read("get_and_touch").with(func(o *Op) { o.Extras, o.Need = lens(4), NeedReadUpsert })
	t[OpGetAndLock] = read("get_and_lock").with(func(o *Op) { o.Extras = lens(0, 4) })
	t[OpUnlock] = read("unlock").with(func(o *Op) { o.CAS = Required })
	t[OpGetMeta] = read("get_meta").with(func(o *Op) { o.Extras = lens(0, 1) })
	t[OpGetKeys] = read("get_keys").with(func(o *Op) { o.Extras = lens(0, 4) })
}

// others fills in what concerns vBuckets, buckets and collections.
func others(t *[256]Op) {
	t[OpAllVBSeqnos] = Op{Name: "get_all_vb_seqnos", Extras: lens(0, 4, 8), Need: NeedRead, Bucket: true}
	t[OpObserveSeqno] = Op{
		Name: "observe_seqno", Extras: lens(0), Value: Required, Need: NeedRead,
		Bucket: true, VBucket: true,
	}
	t[OpObserve] = Op{Name: "observe", Extras: lens(0), Value: Required, Need: NeedRead, Bucket: true}
	t[OpFailoverLog] = Op{Name: "get_failover_log", Extras: lens(0), Need: NeedRead, Bucket: true, VBucket: true}
	t[OpGetRandomKey] = Op{Name: "get_random_key", Extras: lens(0, 4), Need: NeedRead, Bucket: true}
	t[OpManifest] = Op{Name: "get_manifest", Extras: lens(0), Need: NeedLogin, Bucket: true}
	t[OpCollectionID] = Op{
		Name: "get_collection_id", Extras: lens(0), Key: Optional, Value: Optional,
		Need: NeedLogin, Bucket: true,
	}
	t[OpScopeID] = t[OpCollectionID].with(func(o *Op) { o.Name = "get_scope_id" })
	t[OpListBuckets] = Op{Name: "list_buckets", Extras: lens(0), Need: NeedLogin}
	t[OpFlush] = Op{Name: "flush", Extras: lens(0, 4), Need: NeedLogin}
}

// bootstrap fills in what a connection can do before it has a bucket.
func bootstrap(t *[256]Op) {
	t[OpQuit] = Op{Name: "quit", Extras: lens(0)}
	t[OpNoop] = Op{Name: "noop", Extras: lens(0)}
	t[OpVersion] = Op{Name: "version", Extras: lens(0)}
	t[OpVerbosity] = Op{Name: "verbosity", Extras: lens(4), Need: NeedLogin}
	t[OpStat] = Op{Name: "stat", Extras: lens(0), Key: Optional, Value: Optional, Need: NeedOwnCheck, Datatype: true}
	t[OpHello] = Op{Name: "hello", Extras: lens(0), Key: Optional, Value: Optional, Session: true}
	t[OpSASLListMechs] = Op{Name: "sasl_list_mechs", Extras: lens(0)}
	t[OpSASLAuth] = Op{Name: "sasl_auth", Extras: lens(0), Key: Required, Value: Optional, Session: true}
	t[OpSASLStep] = Op{Name: "sasl_step", Extras: lens(0), Key: Required, Value: Optional, Session: true}
	t[OpSelectBucket] = Op{
		Name: "select_bucket", Extras: lens(0), Key: Required, CAS: Optional,
		Need: NeedLogin, Session: true,
	}
	t[OpGetClusterConfig] = Op{Name: "get_cluster_config", Extras: lens(0, 16), Need: NeedLogin}
	t[OpGetErrorMap] = Op{Name: "get_error_map", Extras: lens(0), Value: Required}
}
