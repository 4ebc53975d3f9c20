package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/client"
)

// exportCmd writes all documents of a bucket.
type exportCmd struct {
	documents
	Destination string `arg:"" help:"File to write; compressed with gzip if its name ends in .gz; - writes the standard output."`
	Prefix      string `placeholder:"TEXT" help:"Only documents whose keys begin so."`
	Bare        bool   `help:"Write only the values, one a line, without keys; values that are not JSON are left out and counted."`
	NoExpiry    bool   `help:"Leave expiries out, which halves the number of requests."`
	Workers     int    `default:"${workers}" placeholder:"N" help:"Reads that are under way at once (${default})."`
	Checkpoint  string `placeholder:"FILE" type:"path" help:"Where to keep how far the export is; DESTINATION.charpoy-export if that is a file."`
	Force       bool   `help:"Overwrite a file that exists, and ignore its checkpoint."`
	Output      string `short:"o" enum:"text,json" default:"text" help:"Form of the progress: text or json (one event a line)."`
}

// Help is the long help.
func (*exportCmd) Help() string {
	return "Each line is an object with key, value, and flags and expiry if the document has them; a value that is not JSON is " +
		"in base64. `charpoy import` reads the same. Documents that change meanwhile are written as they are when their turn " +
		"comes; for one moment of all of them, stop the writers.\n\nExample: charpoy export cities.ndjson.gz --bucket default"
}

// Run writes them.
func (c *exportCmd) Run(a *app) error {
	if c.Workers < 1 || c.Workers > 4096 {
		return fail(exitUsage, "--workers %d: want 1 to 4096", c.Workers)
	}
	options, err := c.options(a)
	if err != nil {
		return err
	}
	conn, err := dialBucket(a.ctx, options)
	if err != nil {
		return err
	}
	uuid := conn.Config().UUID
	seqnos, err := conn.Seqnos(a.ctx, 1)
	_ = conn.Close() // the export itself goes through a pool
	if err != nil {
		return err
	}
	job := &exportJob{app: a, cmd: c, bulk: newBulk(options)}
	defer job.bulk.close()
	job.mark = exportMark{
		Kind: "export", Destination: c.Destination, Bucket: options.Bucket, UUID: uuid, Prefix: c.Prefix, Bare: c.Bare,
	}
	if job.file = c.Checkpoint; job.file == "" && c.Destination != "-" {
		job.file = c.Destination + ".charpoy-export"
	}
	if err := job.open(); err != nil {
		return err
	}
	err = runExport(job, seqnos)
	return job.end(err)
}

// exportJob is an export under way. Its fields belong to the goroutine of Run; only readers of one page run beside it.
type exportJob struct {
	app     *app
	cmd     *exportCmd
	bulk    *bulk
	meter   *meter
	out     *exportFile
	file    string // of the checkpoint; empty: none is kept
	mark    exportMark
	saved   time.Time
	left    int64 // documents left out, since --bare has no place for them
	vbs     int64 // number of vBuckets
	refused bool
}

// open opens the destination, and goes on where an earlier run was interrupted.
func (j *exportJob) open() (err error) {
	c := j.cmd
	if c.Destination == "-" {
		j.out = newExportFile(nil, j.app.Stdout, false, 0)
		return nil
	}
	var found exportMark
	if j.file != "" && !c.Force {
		ok, err := loadMark(j.file, &found)
		if err != nil {
			return err
		}
		same := found
		same.Next, same.Size, same.Docs, same.Bytes = 0, 0, 0, 0
		if ok && same != j.mark {
			return fail(exitConflict, "the checkpoint %s is that of another export (bucket %s, or one that was dropped since)", j.file, found.Bucket).
				do("Add --force to begin anew.")
		}
	}
	if found.Size > 0 {
		j.mark = found
		j.app.note("going on at vBucket %d (%s)", found.Next, j.file)
		j.out, err = continueExportFile(c.Destination, found.Size)
		return err
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(c.Destination, how, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fail(exitConflict, "%s exists", c.Destination).do("Choose another name, or add --force to overwrite it.")
	}
	if err != nil {
		return err
	}
	j.out = newExportFile(f, f, strings.HasSuffix(c.Destination, ".gz"), 0)
	return nil
}

// runExport walks the vBuckets. The type of their numbers is the client's own.
func runExport[V ~uint16, S ~uint64](j *exportJob, seqnos map[V]S) error {
	j.meter = j.app.meter("export", j.cmd.Output == "json")
	j.vbs, j.saved = int64(len(seqnos)), j.app.Now()
	j.meter.resume(j.state())
	for _, vb := range slices.Sorted(maps.Keys(seqnos)) {
		if int(vb) < j.mark.Next {
			continue
		}
		if seqnos[vb] > 0 {
			if err := j.vBucket(uint64(vb)); err != nil {
				return fmt.Errorf("vBucket %d: %w", vb, err)
			}
		}
		j.mark.Next = int(vb) + 1
		if now := j.app.Now(); now.Sub(j.saved) >= checkpointInterval {
			j.saved = now
			if err := j.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *exportJob) state() meterState {
	return meterState{Docs: j.mark.Docs, Bytes: j.mark.Bytes, Done: int64(j.mark.Next), Total: j.vbs}
}

// vBucket writes the documents of one vBucket, page by page.
func (j *exportJob) vBucket(vb uint64) error {
	page := func(from string) (keys []string, err error) {
		err = j.bulk.do(j.app.ctx, func(c *client.Conn) error {
			keys, err = keysPage(j.app.ctx, c.Keys, vb, from)
			return err
		})
		return keys, err
	}
	for keys, err := range pagesOf(j.cmd.Prefix, page) {
		if err != nil {
			return err
		}
		lines, err := j.read(keys)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if line == nil {
				continue
			}
			if _, err := j.out.Write(line); err != nil {
				return err
			}
			j.mark.Docs++
			j.mark.Bytes += int64(len(line))
		}
		j.meter.update(j.state())
	}
	return nil
}

// keysPage asks for a page of keys; the type of the vBucket's number is the client's own.
func keysPage[V ~uint16](ctx context.Context, keys func(context.Context, V, string, uint32) ([]string, error), vb uint64, from string) ([]string, error) {
	list, err := keys(ctx, V(vb), from, keysPerPage)
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil // how the server says that there is none from there on
	}
	return list, err
}

// read reads documents with many requests under way, and gives their lines in the order of the keys; nil for one that is
// gone or left out.
func (j *exportJob) read(keys []string) ([][]byte, error) {
	ctx, cancel := context.WithCancelCause(j.app.ctx)
	defer cancel(nil)
	lines := make([][]byte, len(keys))
	var (
		wait sync.WaitGroup
		next atomic.Int64
		left atomic.Int64
	)
	for range min(j.cmd.Workers, len(keys)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(keys) && ctx.Err() == nil; i = next.Add(1) - 1 {
				line, skipped, err := j.line(ctx, keys[i])
				if err != nil {
					cancel(about(keys[i], err))
				}
				if skipped {
					left.Add(1)
				}
				lines[i] = line
			}
		})
	}
	wait.Wait()
	j.left += left.Load()
	return lines, context.Cause(ctx)
}

// line reads one document and makes its line.
func (j *exportJob) line(ctx context.Context, key string) (line []byte, skipped bool, err error) {
	var (
		doc    client.Doc
		expiry uint32
	)
	err = j.bulk.do(ctx, func(c *client.Conn) error {
		if !j.cmd.NoExpiry && !j.cmd.Bare {
			m, err := c.GetMeta(ctx, key, client.With{})
			if err != nil {
				return err
			}
			expiry = m.Expiry
		}
		doc, err = c.Get(ctx, key, client.With{})
		return err
	})
	if errors.Is(err, client.ErrNotFound) {
		return nil, false, nil // deleted or expired since the key was listed
	}
	if err != nil {
		return nil, false, err
	}
	if j.cmd.Bare {
		if !doc.JSON() {
			return nil, true, nil
		}
		return append(oneLine(doc.Value), '\n'), false, nil
	}
	line, err = exportLine(key, &doc, expiry)
	return line, false, err
}

// exportLine makes the line of a document. A JSON value stays as it is, byte for byte, unless it has line ends in it.
func exportLine(key string, d *client.Doc, expiry uint32) ([]byte, error) {
	head := lineOfKey(key)
	head.Flags, head.Expiry = d.Flags, expiry
	if !d.JSON() || !json.Valid(d.Value) {
		text := base64.StdEncoding.EncodeToString(d.Value)
		head.Base64 = &text
	}
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(head); err != nil {
		return nil, err
	}
	if head.Base64 != nil {
		return b.Bytes(), nil
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("}\n"))
	line = append(line, `,"value":`...)
	line = append(line, oneLine(d.Value)...)
	return append(line, "}\n"...), nil
}

// oneLine gives valid JSON without line ends.
func oneLine(value []byte) []byte {
	if !bytes.ContainsAny(value, "\r\n") {
		return slices.Clone(value)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return slices.Clone(value) // it was valid a moment ago
	}
	return b.Bytes()
}

// save makes what was written durable and notes how far the export is.
func (j *exportJob) save() error {
	if j.file == "" || j.cmd.Destination == "-" {
		return nil
	}
	var err error
	if j.mark.Size, err = j.out.sync(); err != nil {
		return err
	}
	if err := saveMark(j.file, &j.mark); err != nil && !j.refused {
		j.refused = true
		j.app.note("no checkpoint can be kept, so an interrupted export begins anew: %v", err)
	}
	return nil
}

// end closes the destination. After an error or a signal the file is cut where the last whole vBucket ends.
func (j *exportJob) end(err error) error {
	if j.meter != nil {
		j.meter.update(j.state())
		j.meter.end(err == nil)
	}
	if err == nil {
		if err = j.out.close(); err == nil {
			err = removeMark(j.file)
		}
		if err == nil && j.left > 0 {
			j.app.note("%s documents are not JSON and were left out", groups(j.left))
		}
		return err
	}
	closing := j.out.close()
	if j.mark.Size > 0 && closing == nil {
		f := describe(j.app.ctx, err)
		return f.do("The same command goes on at the last checkpoint (%s).", j.file)
	}
	return errors.Join(err, closing)
}
