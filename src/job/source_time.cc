#include "job/source_time.h"

#include <algorithm>

#include "archive/codec.h"
#include "archive/tar.h"
#include "source/git.h"
#include "source/http.h"

namespace varve::job {

namespace {

// Archives that hold one compressed byte for a million are not read for their times.
constexpr archive::ExpansionLimits kLimits{.bytes = uint64_t{1} << 40, .ratio = 1100};

}  // namespace

Result<std::optional<int64_t>> NewestFileTime(Reader& archive, std::stop_token stop) {
  std::optional<int64_t> newest;
  auto tar = archive::MakeDecompressor(archive, kLimits);
  if (!tar) return newest;
  archive::TarReader reader(**tar);
  while (true) {
    if (stop.stop_requested()) return Cancelled("reading an archive was cancelled");
    auto entry = reader.Next();
    // An archive that breaks off says nothing (BuildKit treats it as a file).
    if (!entry) return std::optional<int64_t>();
    if (!*entry) return newest;
    if ((*entry)->type != archive::EntryType::kFile) continue;
    newest = std::max(newest.value_or(INT64_MIN), (*entry)->mtime.seconds());
  }
}

Result<std::optional<int64_t>> FindSourceTime(const graph::Op& source, const BuildContext& context,
                                              const SourceCredentials& credentials, Workspace& workspace,
                                              engine::StepSink& sink, std::stop_token stop) {
  const auto* local = std::get_if<graph::LocalSource>(&source);
  if (local != nullptr && local->name == "context" && context.origin) {
    graph::Op origin = *context.origin;
    // Whatever the branch is by now.
    if (auto* git = std::get_if<graph::GitSource>(&origin))
      git->ref = context.origin_pin.substr(context.origin_pin.find(':') + 1);
    return FindSourceTime(origin, context, credentials, workspace, sink, stop);
  }
  if (const auto* git = std::get_if<graph::GitSource>(&source)) {
    source::GitRequest request{.source = *git, .cache_directory = workspace.root};
    request.answers = workspace.answers.get();
    TRY_ASSIGN(request.access, credentials.Of(*git));
    auto on_line = [&](std::string_view line) { sink.Log(2, std::string(line) + "\n"); };
    TRY_ASSIGN(int64_t seconds, source::FetchGitTime(request, on_line, stop));
    return std::optional(seconds);
  }
  if (const auto* http = std::get_if<graph::HttpSource>(&source)) {
    TRY_ASSIGN(std::string authorization, credentials.Of(*http));
    TRY_ASSIGN(auto file, source::FetchHttp(*http, authorization, HttpPlaceOf(workspace), stop));
    if (file.modified) return std::optional(file.modified->seconds());
    TRY_ASSIGN(auto body, workspace.blobs->OpenVerified(file.digest));
    return NewestFileTime(*body, stop);
  }
  return std::optional<int64_t>();
}

}  // namespace varve::job
