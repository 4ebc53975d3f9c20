package mctext

import "errors"

// Verb says what a command wants.
type Verb uint8

// The verbs. Those from MetaNoop on are meta commands.
const (
	Unknown Verb = iota // answered with a fault
	Get
	Gets
	Gat
	Gats
	Set
	Add
	Replace
	Append
	Prepend
	CAS
	Touch
	Delete
	Incr
	Decr
	FlushAll
	Version
	Verbosity
	Stats
	CacheMemLimit
	Shutdown
	LRU
	LRUCrawler
	Slabs
	Watch
	Quit
	MetaNoop
	MetaGet
	MetaSet
	MetaDelete
	MetaArithmetic
	MetaDebug
	NumVerbs = iota
)

// String gives the verb's spelling in the protocol.
func (v Verb) String() string {
	return [NumVerbs]string{
		"unknown", "get", "gets", "gat", "gats", "set", "add", "replace", "append", "prepend", "cas", "touch", "delete", "incr",
		"decr", "flush_all", "version", "verbosity", "stats", "cache_memlimit", "shutdown", "lru", "lru_crawler", "slabs", "watch",
		"quit", "mn", "mg", "ms", "md", "ma", "me",
	}[v]
}

// verbOf finds a verb by its spelling. The compiler makes a search by length and then by content of it.
//
//nolint:funlen // one line a verb
func verbOf(word []byte) Verb {
	switch string(word) {
	case "get":
		return Get
	case "gets":
		return Gets
	case "gat":
		return Gat
	case "gats":
		return Gats
	case "set":
		return Set
	case "add":
		return Add
	case "replace":
		return Replace
	case "append":
		return Append
	case "prepend":
		return Prepend
	case "cas":
		return CAS
	case "touch":
		return Touch
	case "delete":
		return Delete
	case "incr":
		return Incr
	case "decr":
		return Decr
	case "flush_all":
		return FlushAll
	case "version":
		return Version
	case "verbosity":
		return Verbosity
	case "stats":
		return Stats
	case "cache_memlimit":
		return CacheMemLimit
	case "shutdown":
		return Shutdown
	case "lru":
		return LRU
	case "lru_crawler":
		return LRUCrawler
	case "slabs":
		return Slabs
	case "watch":
		return Watch
	case "quit":
		return Quit
	case "mn":
		return MetaNoop
	case "mg":
		return MetaGet
	case "ms":
		return MetaSet
	case "md":
		return MetaDelete
	case "ma":
		return MetaArithmetic
	case "me":
		return MetaDebug
	}
	return Unknown
}

// Stores reports whether a command of the verb has a data block.
func (v Verb) Stores() bool { return v >= Set && v <= CAS || v == MetaSet }

// Retrieves reports whether the verb is one of the ASCII commands with a list of keys.
func (v Verb) Retrieves() bool { return v >= Get && v <= Gats }

// Meta reports whether the verb is a meta command.
func (v Verb) Meta() bool { return v >= MetaNoop }

// Bounds of the protocol, in bytes unless said otherwise.
const (
	MaxKey      = 250
	MaxLine     = 2048    // of a command line; those of Get, Gets, Gat and Gats may have MaxKeysLine
	MaxKeysLine = 8 << 20 // of a line with a list of keys
	MaxFlags    = 20      // options of a meta command
	MaxOpaque   = 32
	maxDecoded  = MaxKey / 4 * 3 // a base64 key, decoded
)

// Errors of Parse.
var (
	// ErrIncomplete says that more bytes are needed: Command.Need knows how many, if that is known.
	ErrIncomplete = errors.New("command is not complete yet")
	// ErrLineTooLong says that no line end came within the limit.
	ErrLineTooLong = errors.New("command line is too long")
	// ErrHTTP says that somebody speaks HTTP here.
	ErrHTTP = errors.New("line is a request of HTTP")
)

// The error lines of the protocol, without their line end.
const (
	FaultUnknown      = "ERROR"
	FaultFormat       = "CLIENT_ERROR bad command line format"
	FaultDelete       = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"
	FaultExptime      = "CLIENT_ERROR invalid exptime argument"
	FaultDelta        = "CLIENT_ERROR invalid numeric delta argument"
	FaultChunk        = "CLIENT_ERROR bad data chunk"
	FaultTooLarge     = "SERVER_ERROR object too large for cache"
	FaultDuplicate    = "CLIENT_ERROR duplicate flag"
	FaultFlag         = "CLIENT_ERROR invalid flag"
	FaultToken        = "CLIENT_ERROR bad token in command line format"
	FaultTooMany      = "CLIENT_ERROR options flags are too long"
	FaultOpaque       = "CLIENT_ERROR opaque token too long"
	FaultBase64       = "CLIENT_ERROR error decoding key"
	FaultModeLength   = "CLIENT_ERROR incorrect length for M token"
	FaultSetMode      = "CLIENT_ERROR invalid mode for ms M token"
	FaultArithmetic   = "CLIENT_ERROR invalid mode for ma M token"
	FaultNonNumeric   = "CLIENT_ERROR cannot increment or decrement non-numeric value"
	FaultUnauthorized = "CLIENT_ERROR unauthenticated"
	FaultLogin        = "CLIENT_ERROR authentication failure"
)

// Flag is one option of a meta command. Its token is found with Command.Token.
type Flag struct {
	Letter   byte
	from, to uint16 // of the token in the line
}

// Modes of MetaSet and MetaArithmetic, as their flag M names them in capitals.
const (
	ModeSet       = 'S'
	ModeAdd       = 'E'
	ModeAppend    = 'A'
	ModePrepend   = 'P'
	ModeReplace   = 'R'
	ModeIncrement = 'I'
	ModeDecrement = 'D'
)

// Command is one request. Parse fills it; a Command can be used for one request after another.
type Command struct {
	Verb   Verb
	Quiet  bool // noreply, or the flag q of a meta command
	Base64 bool // the key was sent in base64
	Mode   byte // of MetaSet and MetaArithmetic, in capitals

	NumFlags uint8
	Flags    [MaxFlags]Flag
	letters  uint64 // bit letter − '@' of each flag

	// Fault is the error line to answer with instead of doing anything; empty: the command is well-formed. For ASCII commands
	// Quiet says that even this is not wanted.
	Fault string
	// TooLarge: Fault is about a value above the limit. A set that meant to replace a document must not leave the old one.
	TooLarge bool
	// Skip is what has to be thrown away behind this command before the next one begins.
	Skip Skip
	// Need is how many bytes the whole command takes, when Parse answers ErrIncomplete and that is known; else 0.
	Need int

	Key     []byte // of commands with one key; decoded if Base64
	RawKey  []byte // as it was sent
	Keys    []byte // of Retrieves: the rest of the line, see Keys.Next and NextKey
	NumKeys int    // keys in Keys
	Args    []byte // of Stats, LRU, LRUCrawler, Slabs, Watch, Shutdown: the rest of the line
	Value   []byte // data block

	ClientFlags uint32
	Expiry      uint32 // wire form: of storing, T of meta commands; of FlushAll: seconds of delay
	CAS         uint64 // C
	Vivify      uint32 // N: expiry in wire form
	Recache     uint32 // R: the same
	Delta       uint64 // of Incr, Decr, CacheMemLimit; D
	Initial     uint64 // J

	line    []byte
	decoded [maxDecoded + 3]byte
}

// Has reports whether a meta command has the flag of a letter.
func (c *Command) Has(letter byte) bool { return c.letters>>(letter-'@')&1 != 0 }

// Token is what was sent behind the letter of a flag. It aliases the input.
func (c *Command) Token(f Flag) []byte { return c.line[f.from:f.to] }

// Skip is input to be thrown away: so many bytes, then the rest of a line. The zero value is nothing.
type Skip struct {
	Bytes int64
	Line  bool
}

// Take throws away what it can of in and returns how much that was. When s is the zero value afterwards, commands go on.
func (s *Skip) Take(in []byte) int {
	n := int(min(s.Bytes, int64(len(in))))
	s.Bytes -= int64(n)
	if s.Bytes > 0 || !s.Line {
		return n
	}
	for i, b := range in[n:] {
		if b == '\n' {
			s.Line = false
			return n + i + 1
		}
	}
	return len(in)
}

// Pending reports whether there is still something to throw away.
func (s *Skip) Pending() bool { return s.Bytes > 0 || s.Line }
