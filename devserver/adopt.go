//go:build !noserver

package devserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	persistencespb "go.temporal.io/server/api/persistence/v1"
	"google.golang.org/protobuf/proto"

	"example.com/coffee/internal/sqlitefile"
)

// adopt returns the stamp that a database of another Temporal server on SQLite, such as
// that of temporal server start-dev, would have if it had one. Its version is unknown.
// It returns a [*DatabaseError] if this server cannot go on with what is in it.
func adopt(ctx context.Context, file string) (stamp Stamp, err error) {
	err = reading(ctx, file, func(db *sql.DB) (err error) {
		if err := sqlitefile.Check(ctx, db); err != nil {
			return err
		}
		if stamp, err = readCluster(ctx, db); err != nil {
			return &sqlitefile.Problem{Text: "cannot be adopted: " + err.Error(), Err: err}
		}
		return nil
	})
	return stamp, err
}

// readCluster reads what a server has recorded about its cluster.
func readCluster(ctx context.Context, db *sql.DB) (Stamp, error) {
	var name, encoding string
	var data []byte
	err := db.QueryRowContext(ctx, `SELECT cluster_name, data, data_encoding FROM cluster_metadata_info WHERE cluster_name = $1`, clusterName).Scan(&name, &data, &encoding)
	if errors.Is(err, sql.ErrNoRows) {
		return Stamp{}, fmt.Errorf("it is not that of a cluster named %q", clusterName)
	}
	if err != nil {
		return Stamp{}, fmt.Errorf("it is not the database of a Temporal server: %w", err)
	}
	var cluster persistencespb.ClusterMetadata
	if encoding != "Proto3" {
		return Stamp{}, fmt.Errorf("its cluster is recorded as %q", encoding)
	}
	if err := proto.Unmarshal(data, &cluster); err != nil {
		return Stamp{}, fmt.Errorf("what it says about its cluster cannot be read: %w", err)
	}
	if shards := cluster.GetHistoryShardCount(); shards != 1 {
		return Stamp{}, fmt.Errorf("it has %d history shards, and this server has one", shards)
	}
	if !stampText.MatchString(cluster.GetClusterId()) {
		return Stamp{}, fmt.Errorf("the id of its cluster is %.64q", cluster.GetClusterId())
	}
	return Stamp{ClusterID: cluster.GetClusterId()}, nil
}
