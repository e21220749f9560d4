// System calls that fail on purpose, for tests of what writes to a disk.
//
//   FaultyCalls faults(root, n, ENOSPC);   // the n-th call that would change something below `root` fails
//   Status ran = scenario();
//   if (faults.calls() < n) …              // there was no n-th: every one has failed once
//
// Linking this library replaces libc's functions in the whole program, SQLite's calls included: the dynamic linker
// finds them here first. They do what libc's do as long as no FaultyCalls lives, and to files elsewhere.
//
// Counted are calls that make, write, sync, name, rename and describe files; those that remove them only where
// `removals` says so, since much of removal is done by destructors, which can report nothing.
#pragma once

#include <string>

namespace varve::sys {

// One at a time in a process; its calls may come from any thread.
class FaultyCalls {
 public:
  struct Kinds {
    bool removals = false;
  };
  // `root` as the kernel spells it, without symlinks.
  FaultyCalls(const std::string& root, int fail_at, int error) : FaultyCalls(root, fail_at, error, Kinds()) {}
  FaultyCalls(const std::string& root, int fail_at, int error, Kinds kinds);
  ~FaultyCalls() { Stop(); }
  FaultyCalls(const FaultyCalls&) = delete;
  FaultyCalls& operator=(const FaultyCalls&) = delete;

  // From now on nothing fails.
  void Stop();
  // So far.
  int calls() const;
  // What failed, "write /dev/shm/x/index.db"; empty: nothing did.
  std::string failed() const;
};

}  // namespace varve::sys
