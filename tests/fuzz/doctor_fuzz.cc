// A project's files as `varve doctor` reads them: whatever they say, findings lie inside of them, and every fix can be
// made.
//
// The first byte chooses which file the rest is; a line "%%" parts it from a Dockerfile beside it.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "doctor/diagnose.h"
#include "doctor/patch.h"

namespace {

using namespace varve::doctor;  // NOLINT

const char* PathOf(uint8_t kind) {
  switch (kind) {
    case 'g':
      return ".github/workflows/ci.yml";
    case 'l':
      return ".gitlab-ci.yml";
    case 's':
      return "build.sh";
    case 'm':
      return "Makefile";
    case 'c':
      return "compose.yaml";
    case 'b':
      return "docker-bake.hcl";
    case 'i':
      return ".dockerignore";
    default:
      return "Dockerfile";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string dockerfile = "FROM node:20\nCOPY . .\nRUN npm ci\n";
  if (size_t mark = input.find("\n%%\n"); mark != input.npos) {
    dockerfile = input.substr(mark + 4);
    input = input.substr(0, mark + 1);
  }
  Project project{.directory = "/nowhere"};
  const std::string path = PathOf(data[0]);
  AddFile(project, path, *KindOf(path), std::string(input));
  if (path != "Dockerfile") AddFile(project, "Dockerfile", FileKind::kDockerfile, std::move(dockerfile));
  ReadCalls(project);
  auto findings = Diagnose(project, {.measure_contexts = false});
  for (const Finding& finding : findings) {
    const SourceFile* file = project.Find(finding.file);
    const int lines = file == nullptr ? 0 : static_cast<int>(file->lines.size());
    CHECK(finding.span.start_line >= 0 && finding.span.end_line <= std::max(lines, 1));
    CHECK(!finding.reason.empty() && !finding.rule.empty());
  }
  Patch patch = MakePatch(project, findings);
  (void)ToUnifiedDiff(patch).size();
  return 0;
}
