package devserver

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/temporalio/ui-server/v2/server/api"
	"github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/cors"
	"github.com/temporalio/ui-server/v2/server/csrf"
	"github.com/temporalio/ui-server/v2/server/route"
	"github.com/temporalio/ui-server/v2/server/rpc"
	"github.com/temporalio/ui-server/v2/ui"
	"go.temporal.io/api/workflowservice/v1"
)

// startUI serves the Web UI on a listener that is open already.
//
// The UI's own server is not used: it opens its listener itself, and ends the
// whole process if that fails. This is its handler on a listener of ours.
func (s *Server) startUI(listener net.Listener) error {
	handler, err := s.uiHandler()
	if err != nil {
		return err
	}
	if IsLoopback(s.options.UIIP) {
		handler = guardHost(handler)
	}
	s.uiAddress = hostPort(dialable(s.options.UIIP), listener.Addr().(*net.TCPAddr).Port)
	s.ui = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.ui.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.alarm.fail(err)
		}
	}()
	return nil
}

func (s *Server) uiHandler() (http.Handler, error) {
	settings, err := config.NewConfigProviderWithRefresh(&config.Config{
		TemporalGRPCAddress: s.Address(),
		EnableUI:            true,
		DefaultNamespace:    s.options.Namespaces[0],
		DisableNewsFetch:    true, // nothing leaves the machine
		HideLogs:            true,
		CORS:                config.CORS{CookieInsecure: true}, // it is served by plain HTTP
	})
	if err != nil {
		return nil, err
	}
	assets, err := ui.Assets()
	if err != nil {
		return nil, err
	}
	if assets, err = fs.Sub(assets, "local"); err != nil {
		return nil, err
	}
	e := echo.New()
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure(),
		cors.CORSMiddleware(cors.CORSConfig{
			AllowHeaders:     []string{echo.HeaderOrigin, echo.HeaderContentType, echo.HeaderAccept, echo.HeaderXCSRFToken, "Caller-Type"},
			AllowCredentials: true,
			ConfigProvider:   settings,
		}),
		csrf.EnsureTokenCookie(false),
		middleware.CSRFWithConfig(csrf.MiddlewareConfig(settings, false)))
	route.SetHealthRoute(e)
	// As route.SetAPIRoutes does, which does not let go of its connection, and has
	// a route that asks another machine for news.
	conn, err := rpc.Dial(s.Address(), nil)
	if err != nil {
		return nil, err
	}
	s.releases.keepConnection(conn)
	routes := e.Group("/api/v1")
	routes.GET("/settings", api.GetSettings(settings))
	routes.GET("/ui-extensions", api.GetUIExtensions(settings, api.TemporalAccessCheck(conn, nil)))
	routes.GET(api.WorkflowRawHistoryUrl, api.WorkflowRawHistoryHandler(workflowservice.NewWorkflowServiceClient(conn)))
	routes.Any("/*", api.TemporalAPIHandler(settings, nil, conn))
	route.SetUIRoutes(e, "", assets, settings)
	route.SetRenderRoute(e, "/")
	return e, nil
}

// guardHost refuses requests that came by a name other than localhost. Without
// it any web page could reach the UI's API through a name of its own that
// resolves to 127.0.0.1 (DNS rebinding).
func guardHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "this server is reached as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
