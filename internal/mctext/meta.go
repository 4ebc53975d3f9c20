package mctext

import "encoding/base64"

// known are the flags that some meta command gives a meaning. Like memcached we take each of them with every command, and
// those without a meaning there have none. E, by which a client chooses the CAS, is left out: CAS values are the server's
// clock, and a value from outside would let a document's history run backwards (wire.md 22.4).
const known = "bcCDfFhIJklLMNOPqRstTuvx"

// isKnown reports whether a letter is a flag.
func isKnown(letter byte) bool {
	for i := range len(known) {
		if known[i] == letter {
			return true
		}
	}
	return false
}

// meta reads key and flags of a meta command without a data block.
func (c *Command) meta(rest []byte) {
	key, rest := nextWord(rest)
	c.metaKey(key)
	c.metaFlags(rest)
	c.decodeKey()
}

// metaSet reads key, length and flags of ms. It reports false if the length is not known.
func (c *Command) metaSet(rest []byte) (length int64, ok bool) {
	key, rest := nextWord(rest)
	word, rest := nextWord(rest)
	c.metaKey(key)
	if length, ok = parseLength(word); !ok {
		c.Fault = FaultFormat
		return 0, false
	}
	c.metaFlags(rest)
	c.decodeKey()
	return length, true
}

func (c *Command) metaKey(key []byte) {
	c.Key, c.RawKey = key, key
	if !validKey(key) {
		c.Fault = FaultFormat
	}
	c.Delta = 1
}

// decodeKey replaces a key in base64 by what it stands for.
func (c *Command) decodeKey() {
	if !c.Base64 || c.Fault != "" {
		return
	}
	n, err := base64.StdEncoding.Decode(c.decoded[:], c.RawKey)
	if err != nil || n == 0 {
		c.Fault = FaultBase64
		return
	}
	c.Key = c.decoded[:n:n]
}

// metaFlags reads the flags. The first one that is wrong decides the fault, but one that the key has caused stays.
func (c *Command) metaFlags(rest []byte) {
	fault := ""
	for {
		word, next := nextWord(rest)
		if len(word) == 0 {
			break
		}
		rest = next
		if fault != "" {
			continue
		}
		switch {
		case int(c.NumFlags) == MaxFlags:
			fault = FaultTooMany
		case !isKnown(word[0]):
			fault = FaultFlag
		case c.Has(word[0]):
			fault = FaultDuplicate
		default:
			fault = c.flag(word)
		}
	}
	if fault == "" {
		fault = c.checkMode()
	}
	if c.Fault == "" {
		c.Fault = fault
	}
}

// flag notes one flag and reads its token.
func (c *Command) flag(word []byte) (fault string) {
	letter, token := word[0], word[1:]
	to := cap(c.line) - cap(token) + len(token) // where the token ends, counted from the beginning of the line
	c.Flags[c.NumFlags] = Flag{Letter: letter, from: uint16(to - len(token)), to: uint16(to)}
	c.NumFlags++
	c.letters |= 1 << (letter - '@')
	ok := true
	switch letter {
	case 'b':
		c.Base64 = true
	case 'q':
		c.Quiet = true
	case 'O':
		if len(token) > MaxOpaque {
			return FaultOpaque
		}
	case 'T':
		c.Expiry, ok = parseExpiry(token)
	case 'N':
		c.Vivify, ok = parseExpiry(token)
	case 'R':
		c.Recache, ok = parseExpiry(token)
	case 'F':
		c.ClientFlags, ok = parseUint32(token)
	case 'C':
		c.CAS, ok = parseUint(token)
	case 'D':
		c.Delta, ok = parseUint(token)
	case 'J':
		c.Initial, ok = parseUint(token)
	case 'M':
		if len(token) != 1 {
			return FaultModeLength
		}
		c.Mode = upper(token[0])
	}
	if !ok {
		return FaultToken
	}
	return ""
}

// checkMode checks the mode of ms and ma, and sets it if none was sent.
func (c *Command) checkMode() (fault string) {
	switch c.Verb {
	case MetaSet:
		switch c.Mode {
		case 0:
			c.Mode = ModeSet
		case ModeSet, ModeAdd, ModeAppend, ModePrepend, ModeReplace:
		default:
			return FaultSetMode
		}
	case MetaArithmetic:
		switch c.Mode {
		case 0, '+':
			c.Mode = ModeIncrement
		case '-':
			c.Mode = ModeDecrement
		case ModeIncrement, ModeDecrement:
		default:
			return FaultArithmetic
		}
	default:
	}
	return ""
}

func upper(b byte) byte {
	if b >= 'a' && b <= 'z' {
		return b - 'a' + 'A'
	}
	return b
}
