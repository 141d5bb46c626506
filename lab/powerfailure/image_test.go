//go:build unix

package powerfailure

import (
	"strings"
	"testing"
)

// TestTorn: any sectors of a write may be left.
func TestTorn(t *testing.T) {
	t.Parallel()
	// It begins and ends within a sector.
	old, data := strings.Repeat("o", 4*sector), strings.Repeat("n", 2*sector+20)
	p := newPast(t, old)
	p.write(10, 20, data, sector-10)
	parts := [][2]int{{sector - 10, sector}, {sector, 2 * sector}, {2 * sector, 3 * sector}, {3 * sector, 3*sector + 10}}
	var want []string
	for mask := range 1 << len(parts) {
		content := []byte(old)
		for n, part := range parts {
			if mask>>n&1 == 1 {
				copy(content[part[0]:part[1]], data)
			}
		}
		want = append(want, string(content))
	}
	p.expect(30, want...)
	for content, loss := range p.outcomes(30) {
		switch {
		case content == old && loss == Loss{Files: 1, Lost: 1}:
		case content == p.content() && loss == Loss{Files: 1, Kept: 1}:
		case content != old && content != p.content() && loss == Loss{Files: 1, Torn: 1}:
		default:
			t.Errorf("the loss is %+v with %.60q", loss, content)
		}
	}
}

// TestTornTwice: several writes may be torn by one failure.
func TestTornTwice(t *testing.T) {
	t.Parallel()
	p := newPast(t, "")
	p.write(10, 20, strings.Repeat("a", 2*sector), 0)
	p.write(20, 30, strings.Repeat("b", 2*sector), 2*sector)
	for _, loss := range p.outcomes(30) {
		if loss == (Loss{Files: 1, Torn: 2}) {
			return
		}
	}
	t.Error("that has not happened")
}

// TestGap: what was not written before a later part reads as zeros.
func TestGap(t *testing.T) {
	t.Parallel()
	p := newPast(t, "")
	p.write(10, 20, "ab", 0)
	p.write(30, 40, "cd", 2)
	p.expect(50, "", "ab", "abcd", "\x00\x00cd")
}

// TestTruncated: a truncation is lost or kept, and the order remains.
func TestTruncated(t *testing.T) {
	t.Parallel()
	p := newPast(t, "abcd")
	p.truncate(10, 20, 2)
	p.expect(30, "abcd", "ab")
	p.write(30, 40, "x", 3)
	p.expect(50, "abcd", "ab", "abcx", "ab\x00x")
	p.sync(50, 60)
	p.expect(60, "ab\x00x")
}
