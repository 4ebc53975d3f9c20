//go:build !race && !heaparena && (linux || darwin || windows)

#include "textflag.h"

// func fetch(base unsafe.Pointer, slots *uint64, n int)
//
// As in fetch_amd64.s.
TEXT ·fetch(SB), NOSPLIT, $0-24
	MOVD base+0(FP), R0
	MOVD slots+8(FP), R1
	MOVD n+16(FP), R2
	CMP  $0, R2
	BLE  done

next:
	MOVD.P 8(R1), R3
	CBZ    R3, skip
	LSL    $28, R3, R3
	LSR    $24, R3, R3
	ADD    R0, R3, R3
	PRFM   (R3), PLDL1KEEP
	PRFM   64(R3), PLDL1KEEP
	PRFM   128(R3), PLDL1KEEP
	PRFM   176(R3), PLDL1KEEP

skip:
	SUB  $1, R2, R2
	CBNZ R2, next

done:
	RET
