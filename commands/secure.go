package commands

import (
	"path/filepath"
	"strings"
	"time"

	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/certificates"
	"example.com/coffee/devserver"
)

// secure makes the certificates of a server. If it is to have none, and listens beyond this
// machine, it warns.
func secure(a *app.App, plan *serverPlan) error {
	if plan.secure == "" {
		for _, ip := range []string{plan.server.IP, plan.server.UIIP} {
			if !devserver.IsLoopback(ip) {
				a.Log.Warn().Str("ip", ip).Msg("listening beyond this machine: anyone who can reach the server has full access")
				break
			}
		}
		return nil
	}
	files, err := certificates.Ensure(plan.secure, certificates.ServerNames(plan.server), time.Now())
	if err != nil {
		return err
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
	plan.secure = filepath.Dir(files.CA)
	plan.server.TLS = &devserver.TLSFiles{CA: files.CA, Server: files.Server, ServerKey: files.ServerKey, Client: files.Client, ClientKey: files.ClientKey}
	return nil
}
