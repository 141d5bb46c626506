//go:build !noserver

package devserver

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

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
// The UI's own server is not used, because it opens its own listener and ends the
// whole process if that fails. startUI serves the UI's handler on our listener.
func (s *Server) startUI(listener net.Listener) error {
	handler, err := s.uiHandler()
	if err != nil {
		return err
	}
	s.uiAddress = hostPort(dialable(s.options.UIIP), listener.Addr().(*net.TCPAddr).Port)
	s.ui = s.serve(listener, s.guard(s.options.UIIP, handler), 0) // a page may wait for a workflow
	return nil
}

func (s *Server) uiHandler() (http.Handler, error) {
	settings, err := config.NewConfigProviderWithRefresh(&config.Config{
		TemporalGRPCAddress: s.Address(),
		EnableUI:            true,
		DefaultNamespace:    s.options.Namespaces[0],
		DisableNewsFetch:    true, // nothing leaves the machine
		HideLogs:            true,
		CORS:                config.CORS{CookieInsecure: s.security == nil},
		Codec:               config.Codec{Endpoint: s.options.CodecEndpoint},
		PublicPath:          s.options.UIPublicPath,
	})
	if err != nil {
		return nil, err
	}
	assets, err := s.uiAssets()
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.Pre(route.PublicPath(s.options.UIPublicPath))
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure(),
		cors.CORSMiddleware(cors.CORSConfig{
			AllowHeaders:     []string{echo.HeaderOrigin, echo.HeaderContentType, echo.HeaderAccept, echo.HeaderXCSRFToken, "Caller-Type"},
			AllowCredentials: true,
			ConfigProvider:   settings,
		}),
		csrf.EnsureTokenCookie(false),
		middleware.CSRFWithConfig(csrf.MiddlewareConfig(settings, false)))
	route.SetHealthRoute(e)
	// These are the routes of route.SetAPIRoutes, except one that fetches news
	// from another machine. SetAPIRoutes never closes its connection.
	conn, err := rpc.Dial(s.Address(), s.security.clientTLS())
	if err != nil {
		return nil, err
	}
	s.closers.keepConnection(conn)
	routes := e.Group("/api/v1")
	routes.GET("/settings", api.GetSettings(settings))
	routes.GET("/ui-extensions", api.GetUIExtensions(settings, api.TemporalAccessCheck(conn, nil)))
	routes.GET(api.WorkflowRawHistoryUrl, api.WorkflowRawHistoryHandler(workflowservice.NewWorkflowServiceClient(conn)))
	routes.Any("/*", api.TemporalAPIHandler(settings, nil, conn))
	route.SetUIRoutes(e, s.options.UIPublicPath, assets, settings)
	route.SetRenderRoute(e, "/")
	return e, nil
}

// uiAssets returns the files of the Web UI.
func (s *Server) uiAssets() (fs.FS, error) {
	if dir := s.options.UIAssets; dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
			return nil, fmt.Errorf("there is no Web UI in that directory: %w", err)
		}
		return os.DirFS(dir), nil
	}
	assets, err := ui.Assets()
	if err != nil {
		return nil, err
	}
	return fs.Sub(assets, "local")
}
