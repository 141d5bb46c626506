package commands

import (
	"strings"
	"time"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/devserver"
)

// makeCertificates makes a server's certificates in a directory, as far as they are not there.
// Without a directory there are none, and it warns if the server listens beyond this machine.
func makeCertificates(a *app.App, dir string, options devserver.Options) (*devserver.TLSFiles, error) {
	if dir == "" {
		for _, ip := range []string{options.IP, options.UIIP} {
			if !devserver.IsLoopback(ip) {
				a.Log.Warn().Str("ip", ip).Msg("listening beyond this machine: anyone who can reach the server has full access")
				break
			}
		}
		return nil, nil
	}
	files, err := certificates.Ensure(dir, certificates.ServerNames(options), time.Now())
	if err != nil {
		return nil, err
	}
	for _, made := range files.Made {
		a.Out.Notef("made %s", made)
	}
	for _, exposed := range files.Exposed {
		a.Log.Warn().Msg("a private key is not private: " + exposed)
	}
	if len(files.Lacking) > 0 {
		a.Out.Notef("%s lacks %s: clients that use those names refuse it; put ca.key back to have another one made", files.Server, strings.Join(files.Lacking, ", "))
	}
	return &devserver.TLSFiles{CA: files.CA, Server: files.Server, ServerKey: files.ServerKey, Client: files.Client, ClientKey: files.ClientKey}, nil
}
