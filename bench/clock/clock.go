// Package clock reads the clocks that the measurements share.
package clock

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Now is the monotonic clock that all processes of the machine share, in nanoseconds.
func Now() int64 { return clock(1) }

// CPU is the processor time that a process has used, all its threads together; -1 if it is gone.
func CPU(pid int) int64 { return clock(^pid<<3 | 2) } // The number that the kernel gives the clock of a process.

func clock(id int) int64 {
	var t syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return -1
	}
	return int64(time.Duration(t.Sec)*time.Second + time.Duration(t.Nsec))
}

// Resident is the memory of a process that is in the machine's, in bytes; 0 if it is not known.
func Resident(pid int) int64 {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
