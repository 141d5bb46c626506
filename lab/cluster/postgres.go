//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const postgresUser = "coffee"

// findPostgres returns the directory of the newest PostgreSQL's programs.
func findPostgres() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("there is no PostgreSQL server: install the package postgresql")
	}
	return filepath.Dir(path), nil
}

func (c *cluster) postgresAddress() string { return fmt.Sprintf("127.0.0.1:%d", c.port+postgresPort) }

// url returns the URL of a database.
func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s", postgresUser, c.postgresAddress(), database)
}

// asPostgres makes a command run as the user postgres if it would run as root, which
// PostgreSQL refuses.
func asPostgres(cmd *exec.Cmd) (*exec.Cmd, error) {
	cmd.Dir = "/"
	if os.Getuid() != 0 {
		return cmd, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd, errors.Join(err1, err2)
}

// initPostgres makes an empty database cluster.
func (c *cluster) initPostgres(ctx context.Context) error {
	data := filepath.Join(c.dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	cmd, err := asPostgres(exec.CommandContext(ctx, filepath.Join(c.postgres, "initdb"), "-D", data, "-U", postgresUser, "-A", "trust"))
	if err != nil {
		return err
	}
	if cmd.SysProcAttr != nil {
		if err := os.Chown(data, int(cmd.SysProcAttr.Credential.Uid), int(cmd.SysProcAttr.Credential.Gid)); err != nil {
			return err
		}
	}
	return command(cmd)
}

// postgresCommand returns the server, which waits for the disk at each commit.
func (c *cluster) postgresCommand() func() *exec.Cmd {
	return func() *exec.Cmd {
		data := filepath.Join(c.dir, "postgres")
		cmd, err := asPostgres(exec.Command(filepath.Join(c.postgres, "postgres"), "-D", data, "-p", strconv.Itoa(c.port+postgresPort),
			"-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=256MB"))
		if err != nil {
			panic(err) // it was found before
		}
		return cmd
	}
}

// createDatabases creates Temporal's databases with their schemas, and an empty one for
// the ledger.
func (c *cluster) createDatabases(ctx context.Context) error {
	psql := func(database, statement string) error {
		return command(exec.CommandContext(ctx, filepath.Join(c.postgres, "psql"), "-q", c.url(database), "-c", statement))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := psql("postgres", "SELECT 1")
		if err == nil {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
	out, err := c.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/server").Output()
	if err != nil {
		return err
	}
	schemas := filepath.Join(string(out[:len(out)-1]), "schema", "postgresql", "v12")
	for database, schema := range map[string]string{"temporal": "temporal", "visibility": "visibility", "ledger": ""} {
		if err := psql("postgres", "CREATE DATABASE "+database); err != nil {
			return err
		}
		if schema == "" {
			continue
		}
		for _, args := range [][]string{{"setup-schema", "-v", "0.0"}, {"update-schema", "-d", filepath.Join(schemas, schema, "versioned")}} {
			common := []string{"--plugin", "postgres12", "--ep", "127.0.0.1", "-p", strconv.Itoa(c.port + postgresPort), "-u", postgresUser, "--pw", "", "--db", database}
			if err := command(exec.CommandContext(ctx, filepath.Join(c.dir, "temporal-sql"), append(common, args...)...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// kill ends a process at once. PostgreSQL shuts down as in a crash: its children must
// not survive it.
func kill(name string, pid int) error {
	if name == "postgres" {
		return syscall.Kill(pid, syscall.SIGQUIT)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// command runs a command, and returns what it printed with its error.
func command(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}
