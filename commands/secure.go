package commands

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/background"
	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/devserver"
)

// serverFiles are the certificates of a server, and the profile for its clients.
type serverFiles struct {
	a   *app.App
	dir string // empty if there are none
}

func (*serverFiles) name() string { return "Profile" }

// prepare makes the certificates. If the server is to have none, and listens beyond this
// machine, it warns.
func (s *serverFiles) prepare(_ *background.Tasks, options *devserver.Options) error {
	if s.dir == "" {
		for _, ip := range []string{options.IP, options.UIIP} {
			if !devserver.IsLoopback(ip) {
				s.a.Log.Warn().Str("ip", ip).Msg("listening beyond this machine: anyone who can reach the server has full access")
				break
			}
		}
		return nil
	}
	files, err := certificates.Ensure(s.dir, certificates.ServerNames(*options), time.Now())
	if err != nil {
		return err
	}
	for _, made := range files.Made {
		s.a.Out.Notef("made %s", made)
	}
	for _, exposed := range files.Exposed {
		s.a.Log.Warn().Msg("a private key is not private: " + exposed)
	}
	if len(files.Lacking) > 0 {
		s.a.Out.Notef("%s lacks %s: clients that use those names refuse it; put ca.key back to have another one made", files.Server, strings.Join(files.Lacking, ", "))
	}
	s.dir = filepath.Dir(files.CA)
	options.TLS = &devserver.TLSFiles{CA: files.CA, Server: files.Server, ServerKey: files.ServerKey, Client: files.Client, ClientKey: files.ClientKey}
	return nil
}

// start writes the profile.
func (s *serverFiles) start(_ context.Context, _ *background.Tasks, h house) (string, error) {
	if s.dir == "" {
		return "", nil
	}
	return certificates.WriteProfile(s.dir, h.server.Address(), h.options.TLS)
}
