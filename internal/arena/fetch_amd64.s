//go:build !race && !heaparena && (linux || darwin || windows)

#include "textflag.h"

// func fetch(base unsafe.Pointer, slots *uint64, n int)
//
// The address of an item is base + (slot mod 2^36) × 16. Four lines are asked for: 0 to 63, 64 to 127, 128 to 191, and the one
// of byte 176, which is another one for items that do not begin at the beginning of a line.
TEXT ·fetch(SB), NOSPLIT, $0-24
	MOVQ  base+0(FP), AX
	MOVQ  slots+8(FP), BX
	MOVQ  n+16(FP), CX
	TESTQ CX, CX
	JLE   done

next:
	MOVQ       (BX), DX
	ADDQ       $8, BX
	TESTQ      DX, DX
	JEQ        skip
	SHLQ       $28, DX
	SHRQ       $24, DX
	ADDQ       AX, DX
	PREFETCHT0 (DX)
	PREFETCHT0 64(DX)
	PREFETCHT0 128(DX)
	PREFETCHT0 176(DX)

skip:
	DECQ CX
	JNZ  next

done:
	RET
