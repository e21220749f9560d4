// How long a client's context takes through a session: the first transfer, one in which nothing changed, and one in
// which one file did. Client and daemon are in this process, as two ends of a unix socket, so CPU time is that of both.
//
//   sync_bench [FILES [BYTES_PER_FILE [DIRECTORY]]]     (100000 4000 $TMPDIR)
//
// The trees are left for the caller to remove: removing 100,000 files makes the next creations slow for minutes.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/fd.h"
#include "session/contexts.h"
#include "session/testing/fake_client.h"
#include "session/testing/fake_daemon.h"
#include "session/testing/file_service.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace {

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  namespace session = varve::session;
  const int files = argc > 1 ? std::atoi(argv[1]) : 100'000;
  const size_t bytes = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 4000;
  auto temp = varve::sys::TempDir::Create(argc > 3 ? argv[3] : varve::sys::TemporaryRoot(), "sync-bench-");
  CHECK(temp.has_value());
  const std::string base = temp->Release();
  for (int i = 0; i < files; ++i) {
    const std::string directory = fmt::format("{}/project/d{:03}", base, i / 100);
    if (i % 100 == 0) CHECK(varve::sys::MkdirAll(directory).has_value());
    CHECK(varve::WriteFileAtomically(fmt::format("{}/f{}", directory, i), std::string(bytes, 'x')).has_value());
  }
  session::testing::FileService service;
  service.Share("context", base + "/project");
  session::testing::FakeDaemon daemon;
  session::Contexts contexts(base + "/root");
  const auto run = [&](const char* what, const std::string& id) {
    session::testing::FakeClient client(
        daemon.Connect(), {.id = id, .services = {&service}, .methods = {"/moby.filesync.v1.FileSync/DiffCopy"}});
    const auto open = daemon.sessions().Find(id, {});
    CHECK(open.has_value());
    const double cpu = CpuSeconds();
    const auto start = std::chrono::steady_clock::now();
    const auto context = contexts.Sync(**open, {}, {});
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    CHECK(context.has_value());
    std::printf("%-12s %6.2f s  %6.2f s CPU  %7lu files  %10lu bytes\n", what, time.count(), CpuSeconds() - cpu,
                static_cast<unsigned long>((*context)->received().files),
                static_cast<unsigned long>((*context)->received().bytes));
  };
  run("first", "a");
  run("unchanged", "b");
  CHECK(varve::WriteFileAtomically(base + "/project/d000/f0", "changed").has_value());
  run("one changed", "c");
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("peak memory of client and daemon: %ld MB; trees in %s\n", usage.ru_maxrss / 1024, base.c_str());
}
