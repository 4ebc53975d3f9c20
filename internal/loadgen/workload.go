package loadgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// action is what a sample does.
type action uint8

const (
	actionGet action = iota
	actionSet
	actionDelete
	numActions = 3
)

// sample is one operation: bits 0 to 31 the key's index, 32 to 47 its vBucket, 48 to 49 the action, 50 to 57 which of the
// sizes of values.
type sample uint64

func newSample(index uint32, vb vbucket.ID, do action, size int) sample {
	return sample(index) | sample(vb)<<32 | sample(do)<<48 | sample(size)<<50
}

func (s sample) index() uint32  { return uint32(s) }
func (s sample) vb() uint16     { return uint16(s >> 32) }
func (s sample) action() action { return action(s >> 48 & 3) }

// template is the index of the request's template: there is one for each action and size.
func (s sample) template() int { return int(s >> 48 & 0x3ff) }

// ValueKind says what values are made of.
type ValueKind string

// The kinds of values.
const (
	Raw  ValueKind = "raw"  // bytes that nobody takes for JSON
	JSON ValueKind = "json" // an object with strings, numbers, an array and nested objects
)

// keyDigits is how many hex digits at the end of a key tell its index.
const keyDigits = 8

// WorkloadOptions describe a Workload.
type WorkloadOptions struct {
	Keys       int       // how many different ones; 1,000,000 if 0
	KeyBytes   int       // 16 if 0
	Prefix     string    // keys begin with it, then zeros, then eight hex digits
	Values     ValueKind // Raw if empty
	ValueBytes []int     // sizes, drawn evenly for each write; 100 if empty
	GetShare   float64   // of operations that read, 0 to 1
	Theta      float64   // skew of the zipf distribution, 0 to below 1: 0 draws keys evenly, 0.99 is the usual skewed load
	Samples    int       // operations drawn in advance, then repeated; 4 Mi if 0
	VBuckets   int       // of the bucket; 0 if the server has none
	Seed       uint64    // the same seed gives the same operations
}

func (o WorkloadOptions) withDefaults() WorkloadOptions {
	if o.Keys == 0 {
		o.Keys = 1_000_000
	}
	if o.KeyBytes == 0 {
		o.KeyBytes = 16
	}
	if o.Values == "" {
		o.Values = Raw
	}
	if len(o.ValueBytes) == 0 {
		o.ValueBytes = []int{100}
	}
	if o.Samples == 0 {
		o.Samples = 4 << 20
	}
	return o
}

func (o WorkloadOptions) validate() error {
	switch {
	case o.Keys < 1 || o.Keys > MaxKeys:
		return fmt.Errorf("%w: %d keys, want 1 to %d", ErrOptions, o.Keys, MaxKeys)
	case o.KeyBytes < len(o.Prefix)+keyDigits || o.KeyBytes > MaxKeyBytes:
		return fmt.Errorf("%w: keys of %d bytes, want %d (prefix and %d digits) to %d", ErrOptions, o.KeyBytes,
			len(o.Prefix)+keyDigits, keyDigits, MaxKeyBytes)
	case !plainText(o.Prefix):
		return fmt.Errorf("%w: prefix %q: keys have no blanks and no control characters", ErrOptions, o.Prefix)
	case o.Values != Raw && o.Values != JSON:
		return fmt.Errorf("%w: unknown kind of values %q", ErrOptions, o.Values)
	case len(o.ValueBytes) > maxSizes:
		return fmt.Errorf("%w: %d sizes of values, want at most %d", ErrOptions, len(o.ValueBytes), maxSizes)
	case o.GetShare < 0 || o.GetShare > 1:
		return fmt.Errorf("%w: share of reads %g, want 0 to 1", ErrOptions, o.GetShare)
	case o.Theta < 0 || o.Theta >= 1:
		return fmt.Errorf("%w: theta %g, want 0 to below 1", ErrOptions, o.Theta)
	case o.Samples < 1 || o.Samples > 1<<28:
		return fmt.Errorf("%w: %d samples, want 1 to %d", ErrOptions, o.Samples, 1<<28)
	case o.VBuckets < 0 || o.VBuckets > vbucket.MaxCount:
		return fmt.Errorf("%w: %d vBuckets, want 0 to %d", ErrOptions, o.VBuckets, vbucket.MaxCount)
	}
	least := leastRaw
	if o.Values == JSON {
		least = leastJSON
	}
	for _, n := range o.ValueBytes {
		if n < least || n > MaxValueBytes {
			return fmt.Errorf("%w: values of %d bytes, want %d to %d of kind %s", ErrOptions, n, least, MaxValueBytes, o.Values)
		}
	}
	return nil
}

// plainText reports whether every protocol can carry s in a key.
func plainText(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b <= ' ' || b >= 0x7f })
}

// Workload is what is asked: see the package comment. It takes 8 bytes for each sample and 2 for each key.
type Workload struct {
	options WorkloadOptions
	vbs     []vbucket.ID // of each key; nil without vBuckets
	samples []sample
	values  []value // by size
}

// NewWorkload draws the operations. Errors: ErrOptions.
func NewWorkload(o WorkloadOptions) (*Workload, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	w := &Workload{options: o}
	for _, n := range o.ValueBytes {
		w.values = append(w.values, newValue(o.Values, n))
	}
	if o.VBuckets > 0 {
		w.vbs = make([]vbucket.ID, o.Keys)
		for i := range w.vbs {
			w.vbs[i] = vbucket.Of(w.Key(uint32(i)), o.VBuckets)
		}
	}
	random := rand.New(rand.NewPCG(o.Seed, 0x9E3779B97F4A7C15))
	draw := func() uint32 { return uint32(random.Uint64N(uint64(o.Keys))) }
	if o.Theta > 0 {
		draw = newZipf(random, uint64(o.Keys), o.Theta).draw
	}
	w.samples = make([]sample, o.Samples)
	for i := range w.samples {
		do := actionSet
		if random.Float64() < o.GetShare {
			do = actionGet
		}
		w.samples[i] = w.sample(draw(), do, random.IntN(len(w.values)))
	}
	return w, nil
}

func (w *Workload) sample(index uint32, do action, size int) sample {
	var vb vbucket.ID
	if w.vbs != nil {
		vb = w.vbs[index]
	}
	return newSample(index, vb, do, size)
}

// Key gives the key with an index.
func (w *Workload) Key(index uint32) []byte {
	key := make([]byte, w.options.KeyBytes)
	for i := copy(key, w.options.Prefix); i < len(key); i++ {
		key[i] = '0'
	}
	putHex(key[len(key)-keyDigits:], index)
	return key
}

// Keys tells how many different keys there are.
func (w *Workload) Keys() int { return w.options.Keys }

// each lists one sample for each key; sizes of values alternate.
func (w *Workload) each(do action) []sample {
	list := make([]sample, w.options.Keys)
	for i := range list {
		list[i] = w.sample(uint32(i), do, i%len(w.values))
	}
	return list
}

// zipf draws numbers below n whose k-th most frequent one comes with a probability in proportion to 1/k^theta. The method is
// that of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994). The frequent numbers are
// scattered over the whole range, so that they do not share vBuckets or pages.
type zipf struct {
	random              *rand.Rand
	n                   uint64
	theta, alpha, zetaN float64
	eta, half           float64
}

func newZipf(random *rand.Rand, n uint64, theta float64) *zipf {
	z := &zipf{random: random, n: n, theta: theta, alpha: 1 / (1 - theta), half: 1 + math.Pow(0.5, theta)}
	for i := uint64(1); i <= n; i++ {
		z.zetaN += math.Pow(1/float64(i), theta)
	}
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - z.half/z.zetaN)
	return z
}

func (z *zipf) draw() uint32 {
	u := z.random.Float64()
	rank := uint64(0)
	switch uz := u * z.zetaN; {
	case uz < 1:
	case uz < z.half:
		rank = 1
	default:
		rank = uint64(float64(z.n) * math.Pow(z.eta*u-z.eta+1, z.alpha))
	}
	return uint32(min(rank, z.n-1) * 0x9E3779B97F4A7C15 % z.n)
}
