#include "job/image_tool.h"

#include "sys/process.h"

namespace varve::job {

Result<std::string> FindImageTool(std::stop_token stop) {
  if (sys::FindProgram("docker")) {
    auto answer = sys::RunAndRead({.argv = {"docker", "version", "--format", "{{.Server.Version}}"}}, stop);
    if (answer) return std::string("docker");
  }
  if (sys::FindProgram("podman")) return std::string("podman");
  return NotFound("there is neither a docker engine that answers nor podman");
}

}  // namespace varve::job
