package rollout

import (
	"errors"
	"testing"
	"time"
)

// TestPrevious: going back never goes forward, however often.
func TestPrevious(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	// version was first active at a time, and last became current at another.
	version := func(buildID, state string, first, last int) DeployedVersion {
		v := DeployedVersion{BuildID: buildID, State: state, firstActive: at(first)}
		if last > 0 {
			v.lastCurrent = at(last)
		}
		return v
	}
	for _, test := range []struct {
		name     string
		versions []DeployedVersion
		want     string // empty if there is none
	}{
		{"none", nil, ""},
		{"the first", []DeployedVersion{version("v1", "current", 1, 1)}, ""},
		{"two in turn", []DeployedVersion{version("v2", "current", 2, 2), version("v1", "drained", 1, 1)}, "v1"},
		{"three in turn", []DeployedVersion{version("v3", "current", 3, 3), version("v2", "draining", 2, 2), version("v1", "drained", 1, 1)}, "v2"},
		{"after going back", []DeployedVersion{version("v3", "draining", 3, 3), version("v2", "current", 2, 4), version("v1", "drained", 1, 1)}, ""},
		{"a new one after going back", []DeployedVersion{version("v4", "current", 5, 5), version("v3", "draining", 3, 3), version("v2", "draining", 2, 4), version("v1", "drained", 1, 1)}, "v2"},
		{"the withdrawn one again", []DeployedVersion{version("v2", "current", 2, 4), version("v1", "draining", 1, 3)}, "v1"},
		{"a ramp that was ended", []DeployedVersion{version("v3", "drained", 3, 0), version("v2", "current", 2, 2), version("v1", "drained", 1, 1)}, "v1"},
		{"none is current any more", []DeployedVersion{version("v1", "draining", 1, 1)}, ""},
	} {
		got, err := Deployment{Versions: test.versions}.Previous()
		if (err != nil) != (test.want == "") || err != nil && !errors.Is(err, ErrNoPrevious) || err == nil && got.BuildID != test.want {
			t.Errorf("%s: got %s, %v, want %q", test.name, got.BuildID, err, test.want)
		}
	}
}

// TestVersionWithoutPlace: a version that the server does not take is not one whose
// workers are missing.
func TestVersionWithoutPlace(t *testing.T) {
	t.Parallel()
	d := Deployment{Name: "coffee", workers: map[string]int{"v2": 1}}
	for buildID, want := range map[string]error{"v1": ErrNoVersion, "v2": ErrVersionRefused} {
		if _, err := d.Version(buildID); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", buildID, err, want)
		}
	}
}

// TestRemovable: a version that orders or workers use stays.
func TestRemovable(t *testing.T) {
	t.Parallel()
	for v, want := range map[DeployedVersion]bool{
		{State: "current"}:             false,
		{State: "ramping"}:             false,
		{State: "draining"}:            false,
		{State: "drained", Workers: 1}: false,
		{State: "drained"}:             true,
		{State: "inactive"}:            true,
		{State: "created"}:             true,
	} {
		if err := v.Removable(); (err == nil) != want {
			t.Errorf("%s with %d workers: got %v", v.State, v.Workers, err)
		}
	}
}

// TestQuoteValue: a value of a visibility query ends where it should.
func TestQuoteValue(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"v1": `'v1'`, "it's": `'it''s'`, `back2\`: `'back2\\'`, `\' OR 1=1`: `'\\'' OR 1=1'`} {
		if got := quoteValue(s); got != want {
			t.Errorf("%s: got %s, want %s", s, got, want)
		}
	}
}
