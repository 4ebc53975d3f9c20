package trace

// Type is the type of a field. It says how a value is kept in a Record and how it is printed.
type Type uint8

// The types of fields.
const (
	TypeNum   Type = iota + 1 // a plain number
	TypeDur                   // nanoseconds
	TypeBytes                 // a number of bytes
	TypeEnum                  // one of an Enumeration
	TypeVB                    // a vBucket id
	TypeSeqno                 // a sequence number
	TypeID                    // printed as hexadecimal digits
	TypeBool                  // 0 or 1
	TypeKey                   // the name of a document, as bytes
	TypeText                  // a Text of the node
)

// String gives the type's name as documentation has it.
func (t Type) String() string {
	names := [...]string{"", "num", "dur", "bytes", "enum", "vb", "seqno", "id", "bool", "key", "text"}
	if int(t) >= len(names) {
		return ""
	}
	return names[t]
}

// Unit is the unit of the type's numbers, empty if they have none.
func (t Type) Unit() string {
	switch t {
	case TypeDur:
		return "ns"
	case TypeBytes:
		return "bytes"
	default:
		return ""
	}
}

// Rate says how often a probe may fire.
type Rate uint8

// The rates.
const (
	Hot  Rate = iota + 1 // once an operation, or more often
	Warm                 // up to thousands a second
	Cold                 // seldom
)

// String gives the rate's name as documentation has it.
func (r Rate) String() string {
	names := [...]string{"", "hot", "warm", "cold"}
	if int(r) >= len(names) {
		return ""
	}
	return names[r]
}

// Field is one field of a probe.
type Field struct {
	Name   string
	Type   Type
	Enum   string // the Enumeration of a TypeEnum
	Help   string
	USDT   bool // an argument of the probe as external tracers see it; at most 10 of a probe, a key counts as two
	Redact bool // shown as a hash unless the asker may see it
}

// Probe is one line of the table.
type Probe struct {
	Name   string
	Help   string // when it fires, as a sentence
	Rate   Rate
	Since  string // version
	Fields []Field
}

// Field finds a field by name and gives its index in a Record, −1 if there is none.
func (p *Probe) Field(name string) int {
	for i := range p.Fields {
		if p.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Enumeration is a closed list of names for the values of an enum field. Value 0 is no name: unknown, or none.
type Enumeration struct {
	Name   string // in the table, as Field.Enum
	Type   string // of Go
	Help   string
	Values []string // of 1, 2 …
}

// ID is a probe's number: its index in Probes. It differs between versions; names do not.
type ID uint8

// MaxProbes bounds the number of probes.
const MaxProbes = 64

// MaxFields bounds the number of fields of a probe.
const MaxFields = 24

// ID gives the number itself, so that an ID can be used wherever a probe can.
func (id ID) ID() ID { return id }

// Probe gives the probe's line of the table. It must not be changed.
func (id ID) Probe() *Probe { return &probes[id] }

// String gives the probe's name.
func (id ID) String() string {
	if int(id) >= len(probes) {
		return ""
	}
	return probes[id].Name
}

// Probes gives the table. It must not be changed.
func Probes() []Probe { return probes }

// Enumerations gives the enumerations. They must not be changed.
func Enumerations() []Enumeration { return enumerations }

// Lookup finds a probe by name.
func Lookup(name string) (ID, bool) {
	for i := range probes {
		if probes[i].Name == name {
			return ID(i), true
		}
	}
	return 0, false
}

// enumeration finds an enumeration of the table by its name there.
func enumeration(name string) *Enumeration {
	for i := range enumerations {
		if enumerations[i].Name == name {
			return &enumerations[i]
		}
	}
	return nil
}

// nameOf gives the name of an enumeration's value, empty if it has none.
func nameOf(names []string, v uint8) string {
	if v == 0 || int(v) > len(names) {
		return ""
	}
	return names[v-1]
}

// valueOf is the reverse of nameOf.
func valueOf(names []string, name string) (uint8, bool) {
	for i, n := range names {
		if n == name {
			return uint8(i + 1), true
		}
	}
	return 0, false
}
