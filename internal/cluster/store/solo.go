package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/trace"
)

// StateFile is the name of the solo store's file in its directory.
const StateFile = "cluster.state"

const stateTemporary = StateFile + ".tmp"

// OpenSolo opens the store of a one-node cluster: everything is in memory, and each transaction writes the whole state to
// StateFile in dir before it is published. Without a file the store is empty. A *CorruptError or ErrNewerFormat if the file
// cannot be used: it is left as it is, for a person to look at. dir must exist.
func OpenSolo(files disk.FS, dir string) (*Memory, error) { return OpenSoloTraced(files, dir, nil) }

// OpenSoloTraced is OpenSolo for a node whose probes fire into t.
func OpenSoloTraced(files disk.FS, dir string, t *trace.Node) (*Memory, error) {
	s := state{entries: map[string]Entry{}}
	data, err := readState(files, files.PathJoin(dir, StateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the cluster state: %w", err)
	default:
		if s, err = decodeState(data); err != nil {
			return nil, err
		}
	}
	return newMemory(s, func(next state) error {
		data, begun := encodeState(next), time.Now()
		err := replaceState(files, dir, data)
		if trace.MetaWrite.On() {
			status := trace.StatusOK
			if err != nil {
				status = trace.StatusFailed
			}
			trace.MetaWrite.Fire(t.Shard(0), time.Since(begun), int64(len(data)), status)
		}
		if err != nil {
			return fmt.Errorf("write the cluster state: %w", err)
		}
		return nil
	}), nil
}

func readState(files disk.FS, path string) ([]byte, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxStateFile {
		return nil, &CorruptError{fmt.Sprintf("it has %d bytes", info.Size())}
	}
	data := make([]byte, info.Size())
	if n, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("after %d of %d bytes: %w", n, len(data), err)
	}
	return data, nil
}

// replaceState gives the state file another content: after a crash at any moment it has the old or the new one, and after a
// return without an error the new one. A failed attempt leaves at most a temporary file, which the next one overwrites; what
// could not be synced is never taken for synced, because the next attempt writes a file of its own.
func replaceState(files disk.FS, dir string, data []byte) error {
	temporary := files.PathJoin(dir, stateTemporary)
	f, err := files.Create(temporary, disk.Own)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := files.Rename(temporary, files.PathJoin(dir, StateFile)); err != nil {
		return err
	}
	return disk.SyncDir(files, dir)
}
