// FileOp: actions that build on inputs and on each other. A run of actions of which only the last result
// is used is one step of the graph; where an earlier result is used as well, a step ends there.
#include "base/rel_path.h"
#include "base/strings.h"
#include "llb/decode.h"
#include "tree/pattern.h"

namespace varve::llb {

namespace {

// "/a", "/a/" for a path that says "into this directory": "/a/" and "/a/.".
std::string CleanDestination(const std::string& path) {
  std::string clean = RelPath(path).Absolute();
  bool into = path.ends_with('/') || path.ends_with("/.");
  if (into && clean != "/") clean += '/';
  return clean;
}

std::optional<Timestamp> TimeOf(int64_t nanos) {
  if (nanos == -1) return {};
  return Timestamp{nanos};
}

class FileReader {
 public:
  FileReader(OpReader& reader, const pb::FileOp& from)
      : reader_(reader), from_(from), inputs_(static_cast<int64_t>(reader.inputs.size())),
        results_(static_cast<size_t>(from.actions_size())) {}

  Status Read() {
    if (from_.actions().empty()) return Invalid("invalid file op with no actions");
    TRY(CountUses());
    for (int i = 0; i < from_.actions_size(); ++i) {
      if (uses_[static_cast<size_t>(i)] == 0) continue;  // nobody wants it
      TRY(ReadAction(i));
    }
    for (const auto& [output, action] : outputs_) {
      reader_.outputs[output] = results_[static_cast<size_t>(action)];
    }
    return Ok();
  }

 private:
  // A chain of actions that becomes one step.
  struct Chain {
    std::optional<graph::Ref> base;
    int64_t base_index = -1;  // of FileAction.input, of the first action
    InputList inputs;
    graph::FileOp op;
  };

  Status Use(int64_t index, int by, std::string_view field) {
    if (index < -1 || index >= inputs_ + from_.actions_size()) {
      return Invalid("{} of action {} names input {}, of {} inputs and {} actions", field, by, index, inputs_,
                     from_.actions_size());
    }
    if (index < inputs_) return Ok();
    if (index - inputs_ >= by)
      return Invalid("{} of action {} is the result of action {}, which comes after it", field, by, index - inputs_);
    ++uses_[static_cast<size_t>(index - inputs_)];
    return Ok();
  }

  static const pb::ChownOpt* OwnerOf(const pb::FileAction& action) {
    if (action.has_copy() && action.copy().has_owner()) return &action.copy().owner();
    if (action.has_mkfile() && action.mkfile().has_owner()) return &action.mkfile().owner();
    if (action.has_mkdir() && action.mkdir().has_owner()) return &action.mkdir().owner();
    if (action.has_symlink() && action.symlink().has_owner()) return &action.symlink().owner();
    return nullptr;
  }

  Status CountUses() {
    uses_.resize(static_cast<size_t>(from_.actions_size()), 0);
    for (int i = 0; i < from_.actions_size(); ++i) {
      const pb::FileAction& action = from_.actions(i);
      TRY(Use(action.input(), i, "FileAction.input"));
      if (action.has_copy()) TRY(Use(action.secondary_input(), i, "FileAction.secondary_input"));
      if (const pb::ChownOpt* owner = OwnerOf(action)) {
        for (const pb::UserOpt* user : {&owner->user(), &owner->group()}) {
          if (user->has_by_name()) TRY(Use(user->by_name().input(), i, "NamedUserOpt.input"));
        }
      }
      if (action.output() < -1) return Invalid("FileAction.output of action {} is {}", i, action.output());
      if (action.output() < 0) continue;
      if (!outputs_.emplace(action.output(), i).second) return Invalid("duplicate output {}", action.output());
      uses_[static_cast<size_t>(i)] += 2;  // as a result it ends a chain
    }
    if (outputs_.empty()) return Invalid("no outputs specified");
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_.contains(static_cast<int64_t>(i))) return Invalid("missing output index {}", i);
    }
    return Ok();
  }

  // What an index stands for, as a step's result; none: an empty file system.
  std::optional<graph::Ref> RefOf(int64_t index) const {
    if (index < 0) return {};
    if (index < inputs_) return reader_.inputs[static_cast<size_t>(index)];
    return results_[static_cast<size_t>(index - inputs_)];
  }

  Status ReadAction(int i) {
    const pb::FileAction& action = from_.actions(i);
    int64_t before = action.input() - inputs_;
    auto open = before >= 0 ? chains_.find(before) : chains_.end();
    Chain chain;
    if (open != chains_.end()) {
      chain = std::move(open->second);
      chains_.erase(open);
    } else {
      chain.base = RefOf(action.input());
      chain.base_index = action.input();
      if (chain.base) chain.op.base = chain.inputs.AddOwn(reader_.AsLayers(*chain.base));
    }
    TRY(AddAction(action, i, chain));
    // The action after it goes on with the same step if it is the only one that wants this result.
    bool continued = uses_[static_cast<size_t>(i)] == 1 && IsOnlyBaseOfOne(i);
    if (continued) {
      chains_.emplace(i, std::move(chain));
      return Ok();
    }
    graph::FileOp op = std::move(chain.op);
    results_[static_cast<size_t>(i)] = reader_.Add(std::move(op), chain.inputs.Take());
    return Ok();
  }

  // Whether the one use of action `i` is as what another one writes on.
  bool IsOnlyBaseOfOne(int i) const {
    for (int next = i + 1; next < from_.actions_size(); ++next) {
      if (from_.actions(next).input() == inputs_ + i) return uses_[static_cast<size_t>(next)] > 0;
    }
    return false;
  }

  Result<graph::Owner> ReadOwner(const pb::FileAction& action, Chain& chain) {
    graph::Owner owner;
    const pb::ChownOpt* from = OwnerOf(action);
    if (from == nullptr) return owner;
    for (auto [user, text] : {std::pair(&from->user(), &owner.user), {&from->group(), &owner.group}}) {
      if (user->has_by_id()) *text = std::to_string(user->by_id());
      if (!user->has_by_name()) continue;
      *text = user->by_name().name();
      int64_t index = user->by_name().input();
      if (index == chain.base_index) continue;
      auto ref = RefOf(index);
      if (!ref) continue;  // nothing to look names up in: said when the step runs
      int names_of = chain.inputs.Add(*ref);
      if (owner.names_of >= 0 && owner.names_of != names_of) {
        return Invalid("NamedUserOpt.input: user and group are to be looked up in two different inputs");
      }
      owner.names_of = names_of;
    }
    return owner;
  }

  static Result<uint32_t> ReadMode(int32_t mode, std::string_view field) {
    if (mode < 0) return Invalid("{} is {}", field, mode);
    return static_cast<uint32_t>(mode) & 0777;
  }

  Status AddAction(const pb::FileAction& action, int i, Chain& chain) {
    if (action.has_copy()) return AddCopy(action, i, chain);
    TRY_ASSIGN(graph::Owner owner, ReadOwner(action, chain));
    switch (action.action_case()) {
      case pb::FileAction::kMkfile: {
        const pb::FileActionMkFile& from = action.mkfile();
        TRY_ASSIGN(uint32_t mode, ReadMode(from.mode(), "FileActionMkFile.mode"));
        chain.op.actions.push_back(graph::MakeFile{.path = RelPath(from.path()).Absolute(),
                                                   .data = from.data(),
                                                   .mode = mode,
                                                   .owner = std::move(owner),
                                                   .timestamp = TimeOf(from.timestamp())});
        return Ok();
      }
      case pb::FileAction::kMkdir: {
        const pb::FileActionMkDir& from = action.mkdir();
        TRY_ASSIGN(uint32_t mode, ReadMode(from.mode(), "FileActionMkDir.mode"));
        chain.op.actions.push_back(graph::MakeDirectory{.path = RelPath(from.path()).Absolute(),
                                                        .mode = mode,
                                                        .make_parents = from.make_parents(),
                                                        .owner = std::move(owner),
                                                        .timestamp = TimeOf(from.timestamp())});
        return Ok();
      }
      case pb::FileAction::kRm: {
        const pb::FileActionRm& from = action.rm();
        if (RelPath(from.path()).IsRoot())
          return Invalid("FileActionRm.path \"{}\" is the whole file system", from.path());
        chain.op.actions.push_back(graph::Remove{.path = RelPath(from.path()).Absolute(),
                                                 .allow_wildcard = from.allow_wildcard(),
                                                 .allow_not_found = from.allow_not_found()});
        return Ok();
      }
      case pb::FileAction::kSymlink: {
        const pb::FileActionSymlink& from = action.symlink();
        chain.op.actions.push_back(graph::MakeSymlink{.target = from.oldpath(),
                                                      .path = RelPath(from.newpath()).Absolute(),
                                                      .owner = std::move(owner),
                                                      .timestamp = TimeOf(from.timestamp())});
        return Ok();
      }
      case pb::FileAction::kCopy:
      case pb::FileAction::ACTION_NOT_SET:
        break;
    }
    return Invalid("action {} of the FileOp is none that varve knows", i);
  }

  Status AddCopy(const pb::FileAction& action, int i, Chain& chain) {
    const pb::FileActionCopy& from = action.copy();
    auto source = RefOf(action.secondary_input());
    graph::Copy copy;
    copy.input = chain.inputs.Add(source ? *source : reader_.EmptyTree());
    copy.from.path = RelPath(from.src()).str();
    copy.from.wildcards = from.allow_wildcard() && tree::HasWildcards(copy.from.path);
    copy.from.allow_empty = copy.from.wildcards && from.allow_empty_wildcard();
    copy.from.follow_last = from.follow_symlink();
    copy.from.include = {from.include_patterns().begin(), from.include_patterns().end()};
    copy.from.exclude = {from.exclude_patterns().begin(), from.exclude_patterns().end()};
    copy.dest = CleanDestination(from.dest());
    TRY_ASSIGN(copy.owner, ReadOwner(action, chain));
    if (!from.mode_str().empty()) {
      copy.mode = from.mode_str();
    } else if (from.mode() != -1) {
      if (from.mode() < 0 || from.mode() > 07777) return Invalid("FileActionCopy.mode is {}", from.mode());
      copy.mode = fmt::format("{:o}", from.mode());
    }
    copy.contents_only = from.dir_copy_contents();
    copy.create_dest_path = from.create_dest_path();
    copy.unpack = from.attempt_unpack_docker_compatibility();
    copy.replace = from.always_replace_existing_dest_paths();
    copy.timestamp = TimeOf(from.timestamp());
    // Without patterns everything is copied, and there is nothing to require.
    if (!copy.from.include.empty()) copy.required = {from.required_paths().begin(), from.required_paths().end()};
    ApplyNote(i, &copy);
    chain.op.actions.push_back(std::move(copy));
    return Ok();
  }

  // What the selector and the destination of a COPY say in varve's own graph. --parents is an include
  // pattern in LLB, with the same result.
  void ApplyNote(int i, graph::Copy* copy) const {
    const Json* notes = reader_.note.Find("copies");
    const Json* note = notes == nullptr ? nullptr : notes->Find(std::to_string(i));
    if (note == nullptr) return;
    if (!note->GetBool("follow_dest_links", true)) copy->follow_dest_links = false;
    const Json* parents = note->Find("parents");
    if (parents == nullptr || !parents->is_string()) return;
    copy->from.parents = true;
    copy->from.path = parents->as_string();
    copy->from.wildcards = copy->from.allow_empty = tree::HasWildcards(copy->from.path);
    copy->from.include.clear();
    copy->required.clear();
  }

  OpReader& reader_;
  const pb::FileOp& from_;
  const int64_t inputs_;
  std::vector<int> uses_;                           // of each action's result
  std::map<int64_t, int> outputs_;                  // output, action
  std::vector<std::optional<graph::Ref>> results_;  // of actions that end a chain
  std::map<int64_t, Chain> chains_;                 // that go on, by their last action
};

}  // namespace

Status DecodeFile(OpReader& reader, const pb::FileOp& file) { return FileReader(reader, file).Read(); }

}  // namespace varve::llb
