//go:build unix

package powerfailure

import (
	"math/rand/v2"
	"slices"
)

// sector is what a disk writes as a whole, in bytes.
const sector = 512

// image is what is in a file.
type image []byte

func (i *image) truncate(size int64) {
	if missing := int(size) - len(*i); missing > 0 {
		*i = append(*i, make([]byte, missing)...)
	}
	*i = (*i)[:size]
}

func (i *image) write(data []byte, offset int64) {
	if len(data) == 0 {
		return
	}
	if end := offset + int64(len(data)); end > int64(len(*i)) {
		i.truncate(end)
	}
	copy((*i)[offset:], data)
}

// apply does a whole operation.
func (i *image) apply(o *event) error {
	if o.Kind == truncated {
		i.truncate(o.Value)
		return nil
	}
	data, err := o.data()
	i.write(data, o.Value)
	return err
}

// applyTorn does a part of a write: at least one of its sectors, but not all. It does
// nothing and returns false if it has only one.
func (i *image) applyTorn(o *event, rng *rand.Rand) (bool, error) {
	first := o.Value / sector
	n := int((o.Value+int64(o.Length)-1)/sector - first + 1)
	if o.Kind == truncated || n < 2 {
		return false, nil
	}
	data, err := o.data()
	if err != nil {
		return false, err
	}
	for s, done := range someSectors(n, rng) {
		begin := max((first+int64(s))*sector-o.Value, 0)
		end := min((first+int64(s)+1)*sector-o.Value, int64(len(data)))
		if done {
			i.write(data[begin:end], o.Value+begin)
		}
	}
	return true, nil
}

// someSectors chooses among n sectors, of which there are at least 2: the first ones, the
// last ones, or any.
func someSectors(n int, rng *rand.Rand) []bool {
	chosen := make([]bool, n)
	border := 1 + rng.IntN(n-1)
	shape := rng.IntN(3)
	for !slices.Contains(chosen, true) || !slices.Contains(chosen, false) {
		for s := range chosen {
			switch shape {
			case 0:
				chosen[s] = s < border
			case 1:
				chosen[s] = s >= border
			default:
				chosen[s] = rng.IntN(2) == 0
			}
		}
	}
	return chosen
}

// fate is what becomes of an operation that was not synced.
type fate int

const (
	lost fate = iota
	torn      // a part of it is kept
	kept
)

// drawFates decides what becomes of n operations. What a disk does mostly is likely: to keep
// none, all, or the first ones. But it may keep any.
func drawFates(n int, rng *rand.Rand) []fate {
	fates := make([]fate, n)
	if n == 0 {
		return fates
	}
	border := n - 1
	switch rng.IntN(4) {
	case 0:
		return fates
	case 1:
	case 2:
		border = rng.IntN(n)
	default:
		keep := rng.Float64()
		for i := range fates {
			if rng.IntN(4) == 0 {
				fates[i] = torn
			} else if rng.Float64() < keep {
				fates[i] = kept
			}
		}
		return fates
	}
	for i := range border {
		fates[i] = kept
	}
	fates[border] = torn
	return fates
}

// fail returns what a power failure leaves of a file.
func (h *history) fail(rng *rand.Rand, loss *Loss) ([]byte, error) {
	unsynced := 0
	for _, o := range h.operations {
		if o.end > h.lastSync {
			unsynced++
		}
	}
	fates := drawFates(unsynced, rng)
	content := image(slices.Clone(h.base))
	for _, o := range h.operations {
		if o.end <= h.lastSync {
			if err := content.apply(&o); err != nil {
				return nil, err
			}
			continue
		}
		if err := content.applyFate(&o, fates[0], rng, loss); err != nil {
			return nil, err
		}
		fates = fates[1:]
	}
	loss.Late += h.late
	return content, nil
}

// applyFate does what its fate leaves of an operation, and counts it.
func (i *image) applyFate(o *event, f fate, rng *rand.Rand, loss *Loss) error {
	if f == torn {
		done, err := i.applyTorn(o, rng)
		if err != nil {
			return err
		}
		if done {
			loss.Torn++
			return nil
		}
		f = [...]fate{lost, kept}[rng.IntN(2)]
	}
	if f == lost {
		loss.Lost++
		return nil
	}
	loss.Kept++
	return i.apply(o)
}
