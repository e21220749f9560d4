#include "dockerfile/stage_copy.h"

#include <algorithm>

#include "base/rel_path.h"
#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/installs_only.h"
#include "dockerfile/windows_path.h"
#include "graph/source_url.h"

namespace varve::dockerfile {

namespace {

// [ugoa]*([-+=]([rwxXst]*|[ugo]))+, several with commas between them (chmod(1)).
bool IsSymbolicMode(std::string_view text) {
  for (const std::string& clause : Split(text, ',')) {
    size_t at = clause.find_first_not_of("ugoa");
    if (at == clause.npos || std::string_view("+-=").find(clause[at]) == std::string_view::npos) {
      return false;
    }
    while (at < clause.size()) {
      if (std::string_view("+-=").find(clause[at]) == std::string_view::npos) return false;
      size_t end = std::min(clause.find_first_of("+-=", at + 1), clause.size());
      std::string_view what = std::string_view(clause).substr(at + 1, end - at - 1);
      bool letters = what.find_first_not_of("rwxXst") == what.npos;
      bool copied = what.size() == 1 && std::string_view("ugo").find(what[0]) != what.npos;
      if (!letters && !copied) return false;
      at = end;
    }
  }
  return true;
}

// What ADD and COPY differ in, with all words expanded.
struct Request {
  bool add = false;
  CopySources sources;
  std::optional<graph::Ref> from;  // not the build context; with `from_given`
  bool from_given = false;
  bool parents = false;
  std::optional<bool> keep_git_dir;
  std::string checksum;
  std::optional<bool> unpack;
};

// One instruction on its way to a FileOp.
class CopyLowering {
 public:
  CopyLowering(const CommandScope& scope, Request request)
      : scope_(scope), stage_(scope.stage()), lowering_(scope.lowering()), request_(std::move(request)) {}

  Status Run() {
    title_ = scope_.Title();
    TRY(ExpandWords());
    TRY_ASSIGN(mode_, ReadMode(request_.sources.chmod));
    TRY(CheckChecksum());
    prefix_ = stage_.numbers.Next(scope_.PlatformPart(), scope_.command().on_build);
    TRY_ASSIGN(dest_, scope_.DestinationPath(request_.sources.destination));
    // A mode needs the destination's directories, so it cannot be made apart from them; BuildKit
    // ignores --link in that case too.
    link_ = request_.sources.link && request_.sources.chmod.empty();
    if (const auto base = BaseOf(lowering_, stage_); base && !link_) {
      op_.base = 0;
      step_inputs_.push_back(*base);
    }
    for (const std::string& path : request_.sources.paths) TRY(AddPath(path));
    for (const InlineFile& file : request_.sources.files) TRY(AddInlineFile(file));
    Finish();
    return Ok();
  }

 private:
  Status ExpandWords() {
    CopySources& sources = request_.sources;
    TRY_ASSIGN(sources.chown, scope_.Expand(sources.chown));
    TRY_ASSIGN(sources.chmod, scope_.Expand(sources.chmod));
    TRY_ASSIGN(request_.checksum, scope_.Expand(request_.checksum));
    for (Word& path : sources.paths) {
      TRY_ASSIGN(path, scope_.Expand(path));
    }
    TRY_ASSIGN(sources.destination, scope_.Expand(sources.destination));
    for (InlineFile& file : sources.files) {
      if (!file.expand) continue;
      TRY_ASSIGN(file.content, scope_.ExpandDocument(file.content));
    }
    return Ok();
  }

  Status CheckChecksum() {
    if (request_.checksum.empty()) return Ok();
    const std::vector<Word>& paths = request_.sources.paths;
    if (paths.size() != 1) {
      return Hinted(Invalid("checksum can't be specified for multiple sources"), "give each source an ADD of its own");
    }
    TRY_ASSIGN(auto git, graph::ParseGitUrl(paths[0]));
    bool is_git = git && !git->looks_local;
    if (!is_git && !graph::IsHttpUrl(paths[0])) {
      return Hinted(Invalid("checksum requires HTTP(S) or Git sources"),
                    "files of the context are compared by content anyway");
    }
    return Ok();
  }

  Status AddPath(const std::string& path) {
    TRY_ASSIGN(auto git, graph::ParseGitUrl(path));
    if (git && !git->looks_local) return AddGit(std::move(*git));
    if (graph::IsHttpUrl(path)) return AddHttp(path);
    return AddFiles(path);
  }

  Status AddGit(graph::GitUrl git) {
    if (!request_.add) return RemoteInCopy("a git ref");
    if (request_.keep_git_dir && git.keep_git_dir && *request_.keep_git_dir != *git.keep_git_dir) {
      return Hinted(Invalid("inconsistent keep-git-dir configuration"),
                    "the flag and the URL's query say different things: drop one");
    }
    if (request_.keep_git_dir) git.source.keep_git_dir = *request_.keep_git_dir;
    if (!request_.checksum.empty() && !git.source.checksum.empty() && request_.checksum != git.source.checksum) {
      return Hinted(Invalid("checksum mismatch \"{}\" != \"{}\"", request_.checksum, git.source.checksum),
                    "the flag and the URL's query say different things: drop one");
    }
    if (!request_.checksum.empty()) {
      TRY(graph::CheckCommitPrefix(request_.checksum));
      git.source.checksum = request_.checksum;
    }
    graph::Step step = scope_.NewStep(prefix_, title_);
    step.op = git.source;
    step.platform = {};
    graph::Copy copy = NewCopy(lowering_.steps.AddOnce(std::move(step)));
    copy.from.follow_last = false;
    op_.actions.push_back(std::move(copy));
    return Ok();
  }

  Status AddHttp(const std::string& url) {
    if (!request_.add) return RemoteInCopy("a URL");
    graph::HttpSource http;
    http.url = url;
    http.filename = graph::HttpFileName(url);
    if (!request_.checksum.empty()) {
      TRY_ASSIGN(http.checksum, Checksum::Parse(request_.checksum));
    }
    graph::Step step = scope_.NewStep(prefix_, title_);
    step.platform = {};
    std::string file = http.filename;
    step.op = std::move(http);
    graph::Copy copy = NewCopy(lowering_.steps.AddOnce(std::move(step)));
    copy.from.path = file;
    copy.from.follow_last = false;
    copy.unpack = request_.unpack.value_or(false);
    op_.actions.push_back(std::move(copy));
    return Ok();
  }

  Status AddFiles(const std::string& given) {
    TRY_ASSIGN(const std::string path, WithoutDrive(*stage_.platform, given));
    if (!request_.from_given) CheckIgnored(path);
    std::optional<graph::Ref> from = request_.from_given ? request_.from : std::optional(ContextRoot(lowering_));
    // COPY --from of an empty stage finds nothing, and says so when it runs.
    if (!from) from = EmptyTreeStep();
    graph::Copy copy = NewCopy(*from);
    copy.from.parents = request_.parents;
    size_t pivot = request_.parents ? path.find("/./") : path.npos;
    if (pivot == path.npos) {
      copy.from.path = RelPath(path).str();
    } else {
      copy.from.path = RelPath(path.substr(0, pivot)).str() + "/./" + RelPath(path.substr(pivot + 3)).str();
    }
    copy.from.wildcards = tree::HasWildcards(copy.from.path);
    copy.from.allow_empty = copy.from.wildcards;
    copy.unpack = request_.unpack.value_or(request_.add);
    op_.actions.push_back(std::move(copy));
    return Ok();
  }

  // As a step of its own, so that whether the destination is a directory is found out like for any
  // other source.
  Status AddInlineFile(const InlineFile& file) {
    graph::Step step;
    step.platform = *stage_.platform;
    step.name = "[internal] preparing inline document";
    step.text = step.name;
    TRY_ASSIGN(std::string plain, WithoutDrive(*stage_.platform, file.name));
    std::string name = RelPath(plain).str();
    step.op = graph::FileOp{
        .base = -1, .actions = {graph::MakeFile{.path = "/" + name, .data = file.content, .mode = 0644, .owner = {}}}};
    graph::Copy copy = NewCopy(lowering_.steps.AddOnce(std::move(step)));
    copy.from.path = name;
    copy.from.follow_last = false;
    op_.actions.push_back(std::move(copy));
    return Ok();
  }

  graph::Ref EmptyTreeStep() {
    graph::Step step;
    step.platform = *stage_.platform;
    step.name = "[internal] empty stage";
    step.text = step.name;
    step.op = graph::FileOp{};
    return lowering_.steps.AddOnce(std::move(step));
  }

  // A copy of everything in `input`, with what the flags say.
  graph::Copy NewCopy(graph::Ref input) {
    size_t first = op_.base == 0 ? 1 : 0;  // the file system written on is an input of its own
    auto it = std::find(step_inputs_.begin() + static_cast<ptrdiff_t>(first), step_inputs_.end(), input);
    graph::Copy copy;
    copy.input = static_cast<int>(it - step_inputs_.begin());
    if (it == step_inputs_.end()) step_inputs_.push_back(input);
    copy.from.exclude = request_.sources.exclude;
    copy.dest = dest_;
    copy.owner = ReadOwner(request_.sources.chown);
    copy.mode = mode_;
    copy.follow_dest_links = !link_;
    return copy;
  }

  Error RemoteInCopy(const char* what) {
    Error error = Invalid("source can't be {} for COPY", what);
    error.hint = "use ADD";
    return error;
  }

  void CheckIgnored(const std::string& path) {
    if (!lowering_.ignored) return;
    std::string clean = CleanPath(path);
    if (clean == "." || clean == "/") {
      const auto& local = std::get<graph::LocalSource>(lowering_.options.context.source);
      bool all = std::ranges::any_of(local.exclude, [](const std::string& pattern) {
        return pattern == "*" || pattern == "**" || pattern == "**/*";
      });
      if (!all) return;
    }
    if (lowering_.ignored->Matches(clean)) {
      lowering_.linter.CopyIgnoredFile(scope_.origin(), request_.add, clean);
    }
  }

  void Finish() {
    graph::Step step = scope_.NewStep(prefix_, title_);
    step.inputs = step_inputs_;
    step.op = std::move(op_);
    step.semantic = !request_.add && !request_.from_given && !link_ && AsksForSemantics(scope_);
    step.no_cache = stage_.no_cache;
    step.no_cache_rule = stage_.no_cache_rule;
    graph::Ref made = lowering_.steps.Add(std::move(step));
    if (link_ && stage_.root) {
      std::string again = stage_.numbers.Again(scope_.PlatformPart(), scope_.command().on_build);
      graph::Step merge = scope_.NewStep(again, "LINK " + title_);
      merge.inputs = {*stage_.root, made};
      merge.op = graph::Merge{};
      merge.no_cache = stage_.no_cache;
      merge.no_cache_rule = stage_.no_cache_rule;
      made = lowering_.steps.Add(std::move(merge));
    }
    stage_.root = made;
    scope_.AddHistory(HistoryText(), made);
  }

  std::string HistoryText() const {
    std::string out = request_.add ? "ADD" : "COPY";
    if (request_.parents) out += " --parents";
    if (!request_.sources.chown.empty()) out += " --chown=" + request_.sources.chown;
    if (!request_.sources.chmod.empty()) out += " --chmod=" + request_.sources.chmod;
    for (const std::string& path : request_.sources.paths) {
      // BuildKit leaves a password where it is, and everybody who has the image has it then. The name in
      // ssh://git@host is none.
      const bool shown = !request_.add || path.starts_with("ssh://git@");
      out += " " + (shown ? path : graph::WithoutCredentials(path));
    }
    for (const InlineFile& file : request_.sources.files) out += " <<" + file.name;
    return out + " " + request_.sources.destination + " # buildkit";
  }

  const CommandScope& scope_;
  StageState& stage_;
  Lowering& lowering_;
  Request request_;
  std::string title_;
  std::string prefix_;
  std::string dest_;
  std::string mode_;
  bool link_ = false;
  graph::FileOp op_;
  std::vector<graph::Ref> step_inputs_;
};

}  // namespace

Result<std::string> ReadMode(const std::string& text) {
  if (text.empty()) return text;
  bool octal = text.find_first_not_of("01234567") == text.npos;
  if (octal) {
    auto mode = ParseInt(text, 8);
    if (mode && *mode <= 07777) return fmt::format("{:o}", *mode);
  }
  if (octal || (text[0] >= '0' && text[0] <= '9')) {
    return Hinted(Invalid("invalid chmod parameter: '{}'. it should be octal string and between 0 and "
                          "07777",
                          text),
                  "write it in octal (755), or as chmod(1) does (u=rwX,go=rX)");
  }
  if (!IsSymbolicMode(text)) {
    Error error = Invalid("invalid chmod parameter: '{}'", text);
    error.hint = "write it in octal (755), or as chmod(1) does (u=rwX,go=rX)";
    return error;
  }
  return text;
}

Status LowerCopy(const CommandScope& scope, const Copy& copy) {
  Request request{.add = false,
                  .sources = copy.sources,
                  .from = {},
                  .from_given = !copy.from.empty(),
                  .parents = copy.parents,
                  .keep_git_dir = {},
                  .checksum = {},
                  .unpack = {}};
  if (request.from_given) {
    StageState& source = *scope.command().sources[0];
    if (!source.done) {
      return Hinted(Invalid("cannot copy from stage \"{}\", it needs to be defined before current "
                            "stage \"{}\"",
                            copy.from, scope.stage().display_name),
                    "move its FROM, and what follows it, above this stage");
    }
    request.from = RootOf(scope.lowering(), source);
  }
  return CopyLowering(scope, std::move(request)).Run();
}

Status LowerAdd(const CommandScope& scope, const Add& add) {
  Request request{.add = true,
                  .sources = add.sources,
                  .from = {},
                  .from_given = false,
                  .parents = false,
                  .keep_git_dir = add.keep_git_dir,
                  .checksum = add.checksum,
                  .unpack = add.unpack};
  return CopyLowering(scope, std::move(request)).Run();
}

}  // namespace varve::dockerfile
