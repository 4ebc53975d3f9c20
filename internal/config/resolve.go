package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a settings file, in bytes.
const maxFile = 1 << 20

// Sources are where settings come from. Each may be empty.
type Sources struct {
	Flags map[string]string           // by name, only those that were given
	Env   func(string) (string, bool) // os.LookupEnv
	File  []byte                      // YAML: a mapping from keys to values
}

// Value is one resolved setting, for printing.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
	Env    string `json:"variable"`
}

// Resolve reads all settings. The error is an *Error for a value that cannot be used, and says what to do.
func Resolve(src Sources) (*Settings, []Value, error) {
	file, err := parseFile(src.File)
	if err != nil {
		return nil, nil, err
	}
	if src.Env == nil {
		src.Env = func(string) (string, bool) { return "", false }
	}
	s := &Settings{}
	origins := map[string]Origin{}
	var values []Value
	for _, setting := range All() {
		raw, origin, err := setting.find(src, file)
		if err != nil {
			return nil, nil, err
		}
		origins[setting.Name] = origin
		if raw != "" {
			if err := setting.set(s, raw); err != nil {
				return nil, nil, &Error{setting.Name, origin, err.Error(), ""}
			}
		}
		shown := raw
		if setting.Secret && raw != "" {
			shown = "(hidden)"
		}
		values = append(values, Value{setting.Name, shown, origin, setting.Env()})
	}
	if err := s.validate(inContainer(src.Env), origins); err != nil {
		return nil, nil, err
	}
	return s, values, nil
}

// find gives the raw value of a setting from the strongest source that has it.
func (s *Setting) find(src Sources, file map[string]string) (string, Origin, error) {
	if v, ok := src.Flags[s.Name]; ok && s.Flag {
		return v, FromFlag, nil
	}
	if v, ok := src.Env(s.Env()); ok {
		return v, FromEnv, nil
	}
	if name, ok := src.Env(s.Env() + "_FILE"); ok && s.Secret {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", FromEnv, &Error{s.Name, FromEnv, err.Error(), "Check " + s.Env() + "_FILE"}
		}
		return strings.TrimRight(string(content), "\r\n"), FromEnv, nil
	}
	if v, ok := file[s.Key()]; ok {
		return v, FromFile, nil
	}
	return s.Default, FromDefault, nil
}

// parseFile reads a settings file: one YAML mapping of known keys to scalars.
func parseFile(content []byte) (map[string]string, error) {
	if len(content) > maxFile {
		return nil, fmt.Errorf("settings file: it has %d bytes, at most %d are read", len(content), maxFile)
	}
	var raw map[string]yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	known := map[string]bool{}
	for _, s := range All() {
		known[s.Key()] = true
	}
	file := map[string]string{}
	for key, node := range raw {
		if !known[key] {
			return nil, fmt.Errorf("settings file, line %d: there is no setting %q; `charpoy config` lists them", node.Line, key)
		}
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("settings file, line %d: %s takes one value", node.Line, key)
		}
		file[key] = node.Value
	}
	return file, nil
}

// inContainer guesses whether this process runs in a container, for hints only.
func inContainer(env func(string) (string, bool)) bool {
	if _, err := os.Stat("/.dockerenv"); err == nil {
		return true
	}
	_, kubernetes := env("KUBERNETES_SERVICE_HOST")
	return kubernetes
}
