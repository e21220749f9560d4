#include "exec/show_traced.h"

#include <sys/stat.h>

#include <cerrno>

#include "trace/self_test.h"

namespace varve::exec {

namespace {

Result<std::unique_ptr<trace::TracedLayers>> Mount(const Job& job, std::vector<trace::TracedLayers::Layer> layers,
                                                   const std::string& point) {
  TRY_ASSIGN(std::string scratch, job.scratch.Path());
  TRY(trace::KernelIsTested(job.root, scratch));
  if (mkdir(point.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + point);
  return trace::TracedLayers::Mount(std::move(layers), point);
}

}  // namespace

std::unique_ptr<trace::TracedLayers> ShowTraced(const Job& job, std::vector<trace::TracedLayers::Layer> layers,
                                                const std::string& point) {
  auto traced = Mount(job, std::move(layers), point);
  if (traced) return std::move(*traced);
  job.warn(
      fmt::format("steps are not traced here: {}. They run again whenever a file that was copied below "
                  "them has changed (--no-trace: as if that were wanted)",
                  traced.error().message));
  return nullptr;
}

}  // namespace varve::exec
