// A provider of OpenID Connect by Zitadel: its certified library, with the store and the sign-in page of its example.
package main

import (
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// zitadel PORT SECRET REDIRECT: serves http://127.0.0.1:PORT/ with the client "web".
func main() {
	issuer := "http://127.0.0.1:" + os.Args[1] + "/"
	storage.RegisterClients(storage.WebClient("web", os.Args[2], os.Args[3]))
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	router := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), logger, false)
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], router); err != nil {
		logger.Error("ended", "error", err)
		os.Exit(1)
	}
}
