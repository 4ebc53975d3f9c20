//go:build invariants || race

package invariant

// Enabled is true in builds that pay for dear checks.
const Enabled = true
