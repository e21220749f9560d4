#include "job/console.h"

#include <unistd.h>

#include "base/fd.h"

namespace varve::job {

namespace {
void Put(int fd, std::string_view text) {
  Status written = FdWriter(fd).Write(text);
  if (!written) return;
}
}  // namespace

void ToStdout(std::string_view text) { Put(STDOUT_FILENO, text); }
void ToStderr(std::string_view text) { Put(STDERR_FILENO, text); }

void PrintCommandError(const Error& error) {
  ToStderr("ERROR: " + error.message + "\n");
  if (!error.hint.empty()) ToStderr("hint: " + error.hint + "\n");
}

}  // namespace varve::job
