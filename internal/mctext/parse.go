package mctext

import "bytes"

// words are the first tokens of a line; no ASCII command has more that mean something.
const maxWords = 8

type words struct {
	list  [maxWords][]byte
	count int // may exceed maxWords
}

// cut splits line at spaces.
func (w *words) cut(line []byte) {
	w.count = 0
	for {
		var word []byte
		word, line = nextWord(line)
		if len(word) == 0 {
			return
		}
		if w.count < maxWords {
			w.list[w.count] = word
		}
		w.count++
	}
}

// last is the last word, if it was kept.
func (w *words) last() []byte {
	if w.count == 0 || w.count > maxWords {
		return nil
	}
	return w.list[w.count-1]
}

// nextWord gives the first word of line and what is behind it. The word is empty at the end.
func nextWord(line []byte) (word, rest []byte) {
	i := 0
	for i < len(line) && line[i] == ' ' {
		i++
	}
	line = line[i:]
	if end := bytes.IndexByte(line, ' '); end >= 0 {
		return line[:end], line[end:]
	}
	return line, nil
}

// NextKey gives the first key of a list of keys and the rest of the list. The key is empty at the end.
func NextKey(keys []byte) (key, rest []byte) { return nextWord(keys) }

// validKey reports whether a text key can be one (wire.md 18).
func validKey(key []byte) bool {
	if len(key) == 0 || len(key) > MaxKey {
		return false
	}
	for _, b := range key {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return true
}

// Parse reads the command at the beginning of in and returns how many bytes it takes. maxValue bounds its data block.
// ErrIncomplete, and the errors that make a connection unusable: ErrLineTooLong, ErrHTTP. A command that is merely wrong is no
// error: Fault has its answer.
func (c *Command) Parse(in []byte, maxValue int) (int, error) {
	end := bytes.IndexByte(in, '\n')
	if limit := len(in); end < 0 || end > MaxLine {
		if end >= 0 {
			limit = end
		}
		if limit > MaxLine && (limit > MaxKeysLine || !listsKeys(in)) {
			return 0, ErrLineTooLong
		}
	}
	c.Need = 0
	if end < 0 {
		return 0, ErrIncomplete
	}
	line := in[:end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	word, rest := nextWord(line)
	c.reset(verbOf(word), line)
	switch {
	case c.Verb.Retrieves():
		c.retrieve(rest)
	case c.Verb.Stores():
		return c.store(in, rest, end+1, maxValue)
	case c.Verb.Meta():
		if c.Verb != MetaNoop {
			c.meta(rest)
		}
	case c.Verb == Unknown:
		if isHTTP(line) {
			return 0, ErrHTTP
		}
		c.Fault = FaultUnknown
	default:
		c.simple(rest)
	}
	return end + 1, nil
}

// reset empties what later code reads without having written it. The large arrays stay as they are.
func (c *Command) reset(v Verb, line []byte) {
	c.Verb, c.line = v, line
	c.Quiet, c.Base64, c.TooLarge, c.Mode, c.NumFlags = false, false, false, 0, 0
	c.letters = 0
	c.Fault = ""
	c.Skip = Skip{}
	c.Key, c.RawKey, c.Keys, c.Args, c.Value = nil, nil, nil, nil, nil
	c.NumKeys = 0
	c.ClientFlags, c.Expiry, c.Vivify, c.Recache = 0, 0, 0, 0
	c.CAS, c.Delta, c.Initial = 0, 0, 0
}

// listsKeys reports whether in begins with a command that may have a long line.
func listsKeys(in []byte) bool {
	word, _ := nextWord(in[:min(len(in), MaxLine)])
	return verbOf(word).Retrieves()
}

// isHTTP recognises the first line of a request of HTTP.
func isHTTP(line []byte) bool {
	word, rest := nextWord(line)
	switch string(word) {
	case "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT":
		return bytes.Contains(rest, []byte(" HTTP/"))
	}
	return false
}

// retrieve reads the list of keys of get, gets, gat and gats. One bad key spoils the whole command.
func (c *Command) retrieve(rest []byte) {
	if c.Verb == Gat || c.Verb == Gats {
		var word []byte
		word, rest = nextWord(rest)
		if len(word) == 0 {
			c.Fault = FaultUnknown
			return
		}
		var ok bool
		if c.Expiry, ok = parseExpiry(word); !ok {
			c.Fault = FaultExptime
			return
		}
	}
	c.Keys = rest
	for {
		var key []byte
		key, rest = nextWord(rest)
		if len(key) == 0 {
			break
		}
		if !validKey(key) {
			c.Fault = FaultFormat
			return
		}
		c.NumKeys++
	}
	if c.NumKeys == 0 {
		c.Fault = FaultUnknown
	}
}

// noreply is the last word of a command that wants no answer.
const noreply = "noreply"

// store reads a command with a data block. lineLen is the length of its line in in.
func (c *Command) store(in, rest []byte, lineLen, maxValue int) (int, error) {
	var length int64
	var ok bool
	if c.Verb == MetaSet {
		length, ok = c.metaSet(rest)
	} else {
		length, ok = c.storeLine(rest)
	}
	if !ok { // there is no telling where the next command begins but behind the line
		return lineLen, nil
	}
	if c.Fault == "" && length > int64(maxValue) {
		c.Fault, c.TooLarge = FaultTooLarge, true
	}
	if c.Fault != "" {
		c.Skip.Bytes = length + 2
		return lineLen + c.Skip.Take(in[lineLen:]), nil
	}
	end := lineLen + int(length)
	if len(in) < end+2 {
		c.Need = end + 2
		return 0, ErrIncomplete
	}
	if in[end] != '\r' || in[end+1] != '\n' {
		return c.badChunk(in, end), nil
	}
	c.Value = in[lineLen:end:end]
	return end + 2, nil
}

// badChunk refuses a command whose data block does not end where it should, and finds the next line end.
func (c *Command) badChunk(in []byte, end int) int {
	c.Fault = FaultChunk
	c.Skip.Line = true
	return end + c.Skip.Take(in[end:])
}

// storeLine reads the words of set, add, replace, append, prepend and cas. It reports false if the length of the data block
// is not known.
func (c *Command) storeLine(rest []byte) (length int64, ok bool) {
	var w words
	w.cut(rest)
	wants := 4
	if c.Verb == CAS {
		wants = 5
	}
	c.Quiet = string(w.last()) == noreply
	if w.count < wants {
		c.Fault = FaultUnknown
		return 0, false
	}
	length, ok = parseLength(w.list[3])
	if w.count > wants+1 {
		c.Fault = FaultUnknown
		return length, ok
	}
	c.Key = w.list[0]
	c.RawKey = c.Key
	var flagsOK, expiryOK, casOK bool
	c.ClientFlags, flagsOK = parseUint32(w.list[1])
	c.Expiry, expiryOK = parseExpiry(w.list[2])
	casOK = true
	if c.Verb == CAS {
		c.CAS, casOK = parseUint(w.list[4])
	}
	if !ok || !flagsOK || !expiryOK || !casOK || !validKey(c.Key) {
		c.Fault = FaultFormat
	}
	return length, ok
}

// simple reads the commands that are one short line.
func (c *Command) simple(rest []byte) {
	c.Args = rest
	var w words
	w.cut(rest)
	if string(w.last()) == noreply && c.Verb != Stats {
		c.Quiet = true
		w.count--
	}
	switch c.Verb {
	case Touch, Incr, Decr:
		c.keyAndNumber(&w)
	case Delete:
		c.delete(&w)
	case FlushAll:
		var ok bool
		if w.count > 0 {
			if c.Expiry, ok = parseExpiry(w.list[0]); !ok {
				c.Fault = FaultExptime
			}
		}
	case Verbosity:
		if w.count == 0 {
			if !c.Quiet {
				c.Fault = FaultUnknown
			}
		} else if _, ok := parseUint32(w.list[0]); !ok {
			c.Fault = FaultFormat
		}
	case CacheMemLimit:
		var ok bool
		if c.Delta, ok = parseUint(w.list[0]); w.count == 0 || !ok {
			c.Fault = FaultUnknown
		}
	default:
	}
}

// keyAndNumber reads the words of touch, incr and decr.
func (c *Command) keyAndNumber(w *words) {
	if w.count != 2 {
		c.Fault = FaultUnknown
		return
	}
	c.Key, c.RawKey = w.list[0], w.list[0]
	var ok bool
	switch {
	case !validKey(c.Key):
		c.Fault = FaultFormat
	case c.Verb == Touch:
		if c.Expiry, ok = parseExpiry(w.list[1]); !ok {
			c.Fault = FaultExptime
		}
	default:
		if c.Delta, ok = parseUint(w.list[1]); !ok {
			c.Fault = FaultDelta
		}
	}
}

// delete reads the words of delete: a key and, from old clients, a delay that must be 0.
func (c *Command) delete(w *words) {
	if w.count == 0 {
		c.Fault = FaultUnknown
		return
	}
	c.Key, c.RawKey = w.list[0], w.list[0]
	switch {
	case w.count > 2 || w.count == 2 && string(w.list[1]) != "0":
		c.Fault = FaultDelete
	case !validKey(c.Key):
		c.Fault = FaultFormat
	}
}

// Resume makes c the rest of a command with a list of keys, of which a part has been dealt with. rest begins in the list and
// ends with the line end; its keys have been checked by Parse.
func (c *Command) Resume(v Verb, expiry uint32, rest []byte) {
	line := rest[:len(rest)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	c.reset(v, line)
	c.Expiry, c.Keys = expiry, line
	c.NumKeys = len(rest) // there are fewer, but nobody needs to know how many
}
