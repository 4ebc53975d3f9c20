package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// secret gives a password: from the variable, from the file that NAME_FILE names, or from a prompt.
func (a *app) secret(name, prompt string) (string, error) {
	if a.Env != nil {
		if v, ok := a.Env(name); ok {
			return v, nil
		}
		if file, ok := a.Env(name + "_FILE"); ok {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", fail(exitUsage, "%s_FILE: %w", name, err)
			}
			return strings.TrimRight(string(content), "\r\n"), nil
		}
	}
	if !terminal(a.Stdin) {
		return "", fail(exitDenied, "there is no password and nobody to ask for it").
			do("Set %s or %s_FILE.", name, name)
	}
	fmt.Fprintf(a.Stderr, "%s: ", prompt)
	defer fmt.Fprintln(a.Stderr)
	echo := a.silence()
	defer echo()
	return a.line()
}

// silence switches the terminal's echo off and gives what switches it on again. Where there is no stty the password is
// seen while it is typed, which is better than not being able to log in.
func (a *app) silence() func() {
	stty := func(arg string) {
		c := exec.CommandContext(context.WithoutCancel(a.ctx), "stty", arg)
		c.Stdin = os.Stdin
		_ = c.Run()
	}
	stty("-echo")
	return func() { stty("echo") }
}

// line reads what a person types, up to Enter.
func (a *app) line() (string, error) {
	type result struct {
		text string
		err  error
	}
	answer := make(chan result, 1)
	var reader sync.WaitGroup // nobody waits for it: a read of the keyboard ends with the process
	reader.Go(func() {
		text, err := bufio.NewReader(a.Stdin).ReadString('\n')
		if errors.Is(err, io.EOF) && text != "" {
			err = nil
		}
		answer <- result{strings.TrimRight(text, "\r\n"), err}
	})
	select {
	case r := <-answer:
		return r.text, r.err
	case <-a.ctx.Done():
		return "", a.ctx.Err()
	}
}

// confirm makes sure that a person means to destroy what has this name: it is typed, or given with --yes-delete.
func (a *app) confirm(what, name, given string) error {
	if given != "" {
		if given != name {
			return fail(exitRefused, "--yes-delete says %q, but the %s is %q: nothing was done", given, what, name)
		}
		return nil
	}
	if !terminal(a.Stdin) {
		return fail(exitRefused, "this destroys the %s %q, and nobody is there to confirm it", what, name).
			do("In a script, add: --yes-delete %s", name)
	}
	fmt.Fprintf(a.Stderr, "This destroys the %s %q. Type its name to go on: ", what, name)
	typed, err := a.line()
	if err != nil {
		return err
	}
	if typed != name {
		return fail(exitRefused, "the name that was typed is another one: nothing was done")
	}
	return nil
}

// maxInput bounds a value read from the standard input, in bytes: a little above what a server takes.
const maxInput = 32 << 20

// value gives a document's value: the argument itself, or the standard input for "-".
func (a *app) value(argument string) ([]byte, error) {
	if argument != "-" {
		return []byte(argument), nil
	}
	content, err := io.ReadAll(io.LimitReader(a.Stdin, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	if len(content) > maxInput {
		return nil, fail(exitFailed, "the standard input has more than %s", size(maxInput))
	}
	if validJSON(content) {
		content = bytes.TrimSuffix(content, []byte("\n")) // what echo adds; other values are taken byte for byte
	}
	return content, nil
}
