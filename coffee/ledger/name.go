package ledger

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
)

// No error of this file repeats what it refuses: there may be a password in it.

var (
	// scheme matches the beginning of an address, such as postgres:// or jdbc:, but not
	// C: on Windows.
	scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`)
	// keywords matches a keyword of libpq's other form of a connection string that one
	// is unlikely to do without; pairs matches two keywords, whatever they are.
	keywords = regexp.MustCompile(`(?:^|\s)(host|hostaddr|port|dbname|user|password|passfile|service|ssl[a-z_]+|connect_timeout|application_name|options|target_session_attrs)\s*=`)
	pairs    = regexp.MustCompile(`^\w+\s*=.*\s\w+\s*=`)
	// setting matches the name of a setting in a URL.
	setting = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
)

const askForURL = "write a PostgreSQL database as postgres://USER@HOST/DATABASE"

// PostgresURL returns the URL of the PostgreSQL database that [Open] would open,
// with its scheme in lower case; empty if where is the path of a file. If where is
// neither, it returns an error, which does not repeat where because that may
// contain a password.
func PostgresURL(where string) (string, error) {
	if where == "" {
		return "", errors.New("it is empty: name a SQLite file or a postgres:// URL")
	}
	if strings.TrimSpace(where) != where || strings.ContainsFunc(where, unicode.IsControl) {
		return "", errors.New("it has a space or a line break at its beginning or end, or a control character: remove it")
	}
	if strings.ContainsAny(where[:1], `"'`) {
		return "", errors.New("it begins with a quotation mark: remove it")
	}
	found := scheme.FindStringSubmatch(where)
	switch {
	case found != nil:
		name := strings.ToLower(found[1])
		if (name == "postgres" || name == "postgresql") && strings.HasPrefix(where[len(name):], "://") {
			return name + where[len(name):], nil
		}
		return "", fmt.Errorf("%s: is not a kind of ledger: use the path of a SQLite file (./ in front of a name with a colon) or a postgres:// URL", found[1])
	case strings.Contains(where, "://"), keywords.MatchString(where), pairs.MatchString(where):
		return "", errors.New("it is neither the path of a SQLite file nor a postgres:// URL: " + askForURL)
	}
	return "", nil
}

// ParsePostgres parses what [PostgresURL] returned. Statements are not prepared: behind a
// pooler that assigns a connection to each transaction, a prepared one is on another
// connection the next time.
func ParsePostgres(databaseURL string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Fragment != "" || strings.Contains(u.EscapedPath(), "@") {
		return nil, errors.New("its URL cannot be parsed: " + askForURL + ", with %XX for what is special in a password, such as %2F for a slash")
	}
	query, err := url.ParseQuery(u.RawQuery)
	for name := range query {
		if !setting.MatchString(name) {
			err = errors.New("no name")
		}
	}
	if err != nil {
		return nil, errors.New("the settings at the end of its URL cannot be parsed: write them as ?NAME=VALUE&NAME=VALUE, with %XX for what is special in a value or a password")
	}
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, parseProblem(err, u, query)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	return config, nil
}

// parseProblem returns the cause of an error of pgx, which repeats the URL, without what
// is secret in it.
func parseProblem(err error, u *url.URL, query url.Values) error {
	cause := errors.Unwrap(err)
	if cause == nil {
		return errors.New("a setting in its URL is wrong")
	}
	text := cause.Error()
	password, _ := u.User.Password()
	for _, secret := range append([]string{password, query.Get("password")}, query["sslpassword"]...) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return fmt.Errorf("its URL is wrong: %s", text)
}
