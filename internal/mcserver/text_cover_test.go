package mcserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
)

// TestTranscriptsAreComplete: the scripts of testdata/text have every verb, every flag of each meta command, every error line of
// the codec and every opcode of the classic binary protocol. What a new one answers has to be written down there.
func TestTranscriptsAreComplete(t *testing.T) {
	files, err := filepath.Glob("testdata/text/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	var all strings.Builder
	verbs, flags := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
		for line := range strings.Lines(string(content)) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			verbs[words[0]] = true
			for _, word := range words[min(2, len(words)):] {
				flags[words[0]+" "+word[:1]] = true
			}
		}
	}
	for v := mctext.Unknown + 1; v < mctext.NumVerbs; v++ {
		if !verbs[v.String()] {
			t.Errorf("the command %s is in no script", v)
		}
	}
	for verb, letters := range map[string]string{ // wire.md 22.4
		"mg": "bcfhklqstvuOTNRCPL", "ms": "bcksqOFTCIMNPL", "md": "bqkOCTIxPL", "ma": "bqkOctvNJDTMCPL", "me": "b",
	} {
		for _, f := range letters {
			if !flags[verb+" "+string(f)] {
				t.Errorf("the flag %c of %s is in no script", f, verb)
			}
		}
	}
	for _, fault := range []string{
		mctext.FaultUnknown, mctext.FaultFormat, mctext.FaultDelete, mctext.FaultExptime, mctext.FaultDelta, mctext.FaultChunk,
		mctext.FaultTooLarge, mctext.FaultDuplicate, mctext.FaultFlag, mctext.FaultToken, mctext.FaultTooMany, mctext.FaultOpaque,
		mctext.FaultBase64, mctext.FaultModeLength, mctext.FaultSetMode, mctext.FaultArithmetic, mctext.FaultNonNumeric,
		mctext.FaultUnauthorized, mctext.FaultLogin,
	} {
		if !strings.Contains(all.String(), fault) {
			t.Errorf("the line %q is in no script", fault)
		}
	}
	for o := range classicOps {
		op := mcbp.Lookup(mcbp.Opcode(o))
		if classicOps[o].run != nil && op != nil && !verbs[op.Name] {
			t.Errorf("the opcode %s is in no script", op.Name)
		}
	}
}
