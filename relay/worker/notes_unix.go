//go:build unix

package worker

import (
	"os"
	"syscall"
	"unsafe"

	"portico/relay/pipeline"
)

// pageFile makes the file of a job's notes, nil where the system has none to give: then nothing is known of a crash.
func pageFile() *os.File {
	f, err := namelessFile()
	if err != nil {
		return nil
	}
	if f.Truncate(noteBytes) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// inheritedNotes are the notes in the file that a job's process was given behind its sockets, nil if they cannot be had. They last as
// long as the process.
func inheritedNotes() pipeline.Watch {
	const fd = firstFile + 2
	f := os.NewFile(fd, "notes")
	if f == nil {
		return nil
	}
	defer func() { _ = f.Close() }() // the memory stays
	if s, err := f.Stat(); err != nil || s.Size() != noteBytes {
		return nil
	}
	page, err := syscall.Mmap(fd, 0, noteBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil
	}
	return (*notes)(unsafe.Pointer(unsafe.SliceData(page)))
}
