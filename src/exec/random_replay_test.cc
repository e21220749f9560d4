// Random layers, random steps, random edits: what is decided of a step against what really happens.
//
// A round makes a stack of layers, some of them copied from a context, and runs a step on it while it is
// traced. Then it edits copied layers, again and again from the start, and decides with the engine's own
// code (weak key and trace) whether the run stands for the step on the edited stack. There the step runs
// for real: decided that it does, it must leave the same upper directory, entry by entry, and the same exit
// code. Of the other decisions every second one is tried, to count those that were needless.
//
// VARVE_TRACE_ROUNDS sets the number of rounds (kEdits decisions each), VARVE_TRACE_SEED the first seed,
// VARVE_TRACE_JOBS how many rounds go on at a time. VARVE_TRACE_SHOW=1 prints the decisions that were needless.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <set>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "base/strings.h"
#include "engine/no_runner.h"
#include "engine/replay.h"
#include "exec/random_steps.h"
#include "sys/namespace.h"
#include "sys/overlay.h"
#include "sys/tempdir.h"
#include "sys/xattrs.h"
#include "trace/traced_layers.h"
#include "tree/layer_index.h"

namespace varve::exec {
namespace {

namespace fs = std::filesystem;
using engine::LayerBelow;
using engine::LayerContent;
using tree::NodeType;

constexpr int kEdits = 6;  // of a round

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

struct Outcome {
  int exit_code = 0;
  std::map<std::string, std::string> upper;  // path → everything but times
  bool operator==(const Outcome&) const = default;
};

struct Tally {
  int decisions = 0, hits = 0, wrong = 0, misses = 0, tried = 0, needless = 0;
  std::map<std::string, int> needless_by;  // what differed
  Tally& operator+=(const Tally& more) {
    decisions += more.decisions, hits += more.hits, wrong += more.wrong;
    misses += more.misses, tried += more.tried, needless += more.needless;
    for (const auto& [what, count] : more.needless_by) needless_by[what] += count;
    return *this;
  }
};

struct File {
  tree::Node node;
  std::string content;
};
// By path, parents first. What a layer of a stack is made of.
using Files = std::map<std::string, File>;

struct Layer {
  LayerBelow::Kind kind = LayerBelow::Kind::kTraced;
  Files files;            // but of one that a step made
  std::string directory;  // where it lies
  DiffId id;
};

class Round final : public engine::NoRunner {
 public:
  // `exact_paths`: see TracedLayers.
  Round(uint64_t seed, const std::string& parent, size_t exact_paths)
      : random_(seed), directory_(*sys::TempDir::Create(parent, "round-")), root_(directory_.path()),
        exact_paths_(exact_paths) {
    user_ = Below(4) == 0 ? 1000 : 0;
    MakeStack();
    // What a fragment ends with is seen too, as a script that goes by it would see it.
    for (int n = 1 + Below(4); n > 0; --n) step_ += Fragment() + "\necho $?\n";
  }

  // `left_out`: a class of questions that is dropped from the notes.
  void Run(uint8_t left_out, Tally& tally) {
    engine::WeakStep weak = WeakOf(stack_);
    trace::Asked asked;
    Outcome recorded = RunStep(stack_, &weak, "first", &asked);
    for (auto& questions : asked) {
      std::erase_if(questions, [&](tree::Question& question) {
        bool whole = (question.facets & left_out & (tree::kAbsent | tree::kStat)) != 0;
        question.facets &= static_cast<uint8_t>(~left_out);
        return whole || question.facets == 0;
      });
    }
    auto trace = engine::MakeTrace(weak, trees_, *this, asked);
    ASSERT_TRUE(trace) << trace.error().ToString() << "\n" << step_;
    for (int edit = 0; edit < kEdits; ++edit) {
      std::vector<Layer> edited = stack_;
      std::string what = Edit(edited, edit);
      auto replay = engine::CheckTrace(*trace, WeakOf(edited), trees_, *this);
      ASSERT_TRUE(replay) << replay.error().ToString();
      ++tally.decisions;
      replay->stands ? ++tally.hits : ++tally.misses;
      if (!replay->stands && edit % 2 == 1) continue;
      Outcome real = RunStep(edited, nullptr, fmt::format("again{}", edit), nullptr);
      if (replay->stands) {
        if (real == recorded) continue;
        ++tally.wrong;
        if (left_out == 0) {
          ADD_FAILURE() << "layers:" << Describe() << "\nas user " << user_ << ":\n"
                        << step_ << "edit: " << what << "\n"
                        << Differences(recorded, real);
        }
        continue;
      }
      ++tally.tried;
      if (real != recorded) continue;
      ++tally.needless;
      std::string differs = replay->differs.substr(0, replay->differs.find_first_of("0123456789"));
      differs += replay->facets == 0 ? "" : fmt::format(" (asked: {})", tree::FacetNames(replay->facets));
      ++tally.needless_by[differs.empty() ? "other layers" : differs];
      if (std::getenv("VARVE_TRACE_SHOW") == nullptr) continue;
      std::cout << fmt::format("needless: {}: {} ({}) after {}{}\nas user {}:\n{}\n", replay->path, replay->differs,
                               tree::FacetNames(replay->facets), what, Describe(), user_, step_);
    }
  }

  // --- StepRunner: what weak keys ask of a runner ----------------------------------------------------
  Result<LayerContent> ContentOf(const DiffId& layer, bool) override { return contents_.at(layer); }
  // No layer of this world counts by its package files.
  Result<engine::PackageLayer> PackagesOf(const DiffId& layer, const std::string&) override {
    return engine::PackageLayer{.digest = layer.value};
  }
  Result<bool> Touches(const DiffId&, const std::vector<std::string>&) override { return false; }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  template <size_t n>
  std::string OneOf(const char* const (&texts)[n]) {
    return texts[Below(static_cast<int>(n))];
  }
  std::string Path() { return Below(3) == 0 ? OneOf(kNames) + "/" + OneOf(kNames) : OneOf(kNames); }
  std::string Text() { return std::string(static_cast<size_t>(Below(4)), static_cast<char>('0' + Below(3))) + "\n"; }

  // --- Layers ----------------------------------------------------------------------------------------

  // The image; one to three copies, of which some are equal; between them what an earlier step left.
  void MakeStack() {
    Files base{{"w", Dir()}, {"out", Dir()}, {"only", Dir()}, {"only/below", Dir()}};
    base["only/below/a"] = Regular("below\n");
    Grow(base, 3);
    Push({.kind = LayerBelow::Kind::kImage, .files = std::move(base)});
    int copies = 1 + Below(3), between = Below(copies + 2);
    for (int n = 0; n < copies; ++n) {
      if (n == between) PushWhatAStepLeft();
      Files files{{"w", Dir()}};
      if (Below(40) > 0) Grow(files, 3 + Below(9));
      // A COPY that brings nothing still lists the directory that it was to fill, unless that is the root: rare.
      else if (Below(10) == 0) files.clear();
      // The same again, with its times or with others.
      if (n > 0 && Below(4) == 0) files = stack_.back().files;
      Push({.files = std::move(files)}, Below(2) == 0 ? "" : "at another time");
    }
    if (between == copies) PushWhatAStepLeft();
  }

  void Push(Layer layer, const std::string& times = "") {
    Materialise(layer, times);
    stack_.push_back(std::move(layer));
  }

  // Equal files with equal times are one layer.
  void Materialise(Layer& layer, const std::string& times) {
    tree::TreeEditor edit(trees_, tree::EmptyTree());
    for (const auto& [path, file] : layer.files) {
      EXPECT_TRUE(edit.Put(RelPath(path), file.node)) << path;
    }
    Digest tree = *edit.Commit();
    layer.id = DiffId(Digest::Of(tree.Hex() + times));
    layer.directory = root_ + "/" + layer.id.Hex().substr(0, 16);
    if (!contents_.try_emplace(layer.id, LayerContent{.digest = tree, .tree = tree}).second) return;
    mkdir(layer.directory.c_str(), 0755);
    std::vector<std::string> directories;
    for (const auto& [path, file] : layer.files) {
      std::string at = layer.directory + "/" + path;
      if (file.node.type == NodeType::kSymlink) {
        EXPECT_EQ(symlink(file.node.target.c_str(), at.c_str()), 0) << at;
      } else if (file.node.IsDirectory()) {
        EXPECT_EQ(mkdir(at.c_str(), 0755), 0) << at;
      } else {
        Fd fd(open(at.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644));
        EXPECT_TRUE(FdWriter(fd.get()).Write(file.content)) << at;
      }
      EXPECT_EQ(lchown(at.c_str(), file.node.uid, file.node.gid), 0);
      if (file.node.type == NodeType::kSymlink) continue;
      EXPECT_EQ(chmod(at.c_str(), file.node.mode), 0);
    }
  }

  // The upper directory of a step that ran on what is there: whiteouts, opaque directories, copies.
  void PushWhatAStepLeft() {
    std::string step = std::exchange(step_, ""), run = "earlier";
    for (int n = 1 + Below(3); n > 0; --n) step_ += Fragment() + "\n";
    Outcome outcome = RunStep(stack_, nullptr, run, nullptr);
    step_ = step;
    std::string text;
    for (const auto& [path, what] : outcome.upper) text += path + what;
    Layer layer{
        .kind = LayerBelow::Kind::kContent, .directory = root_ + "/" + run + "/upper", .id = DiffId(Digest::Of(text))};
    tree::LayerIndex index = IndexOf(layer.directory);
    LayerContent& content = contents_[layer.id] = {.digest = Digest::Of(text), .tree = {}};
    bool removes = std::ranges::any_of(index, [](const auto& entry) { return entry.whiteout || entry.opaque; });
    if (!removes) content.tree = *tree::ApplyLayer(trees_, tree::EmptyTree(), index);
    stack_.push_back(std::move(layer));
  }

  static tree::LayerIndex IndexOf(const std::string& directory) {
    tree::LayerIndex index;
    for (const auto& found : fs::recursive_directory_iterator(directory)) {
      tree::LayerEntry entry{.path = RelPath(std::string(found.path()).substr(directory.size() + 1)), .node = {}};
      struct stat st;
      EXPECT_EQ(lstat(found.path().c_str(), &st), 0);
      entry.whiteout = S_ISCHR(st.st_mode);
      entry.node.mode = st.st_mode & 07777, entry.node.uid = st.st_uid, entry.node.gid = st.st_gid;
      if (S_ISDIR(st.st_mode)) {
        entry.node.type = NodeType::kDirectory;
        auto opaque = sys::GetXattr(found.path(), "trusted.overlay.opaque");
        entry.opaque = opaque && *opaque && **opaque == "y";
      } else if (S_ISLNK(st.st_mode)) {
        entry.node.type = NodeType::kSymlink;
        entry.node.target = fs::read_symlink(found.path());
      } else if (!entry.whiteout) {
        std::string content = *ReadFile(found.path());
        entry.node.size = content.size(), entry.node.digest = Digest::Of(content);
      }
      index.push_back(std::move(entry));
    }
    return index;
  }

  static File Dir() { return {{.type = NodeType::kDirectory, .mode = 0755}, ""}; }
  static File Regular(const std::string& text, uint32_t mode = 0644) {
    return {{.mode = mode, .size = text.size(), .digest = Digest::Of(text)}, text};
  }

  void Grow(Files& files, int count) {
    for (; count > 0; --count) Add(files, Path());
  }

  // In the directories that it needs, unless something is in the way. What it did, for people.
  std::string Add(Files& files, const std::string& path) {
    std::string at = "w";
    files.try_emplace(at, Dir());
    std::vector<std::string> parts = Split(path, '/');
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      at += "/" + parts[i];
      if (!files.try_emplace(at, Dir()).first->second.node.IsDirectory()) return "nothing";
    }
    at += "/" + parts.back();
    if (files.contains(at)) return "nothing";
    switch (Below(5)) {
      case 0:
        files[at] = Dir();
        break;
      case 1: {
        std::string target = Below(2) == 0 ? OneOf(kTargets) : std::string(1, static_cast<char>('a' + Below(4)));
        files[at] = {{.type = NodeType::kSymlink, .mode = 0777, .target = target}, ""};
        break;
      }
      case 2:
        files[at] = Regular("#!/bin/sh\necho " + Text(), 0755);
        break;
      default:
        files[at] = Regular(Text(), Below(2) == 0 ? 0755 : 0644);
    }
    return "add " + at;
  }

  static void Remove(Files& files, const std::string& path) {
    std::erase_if(files, [&](const auto& file) { return file.first == path || file.first.starts_with(path + "/"); });
  }

  std::string Existing() {
    std::vector<std::string> all;
    for (const Layer& layer : stack_) {
      for (const auto& [path, file] : layer.files)
        if (path.starts_with("w/")) all.push_back(path.substr(2));
    }
    return all.empty() ? Path() : all[static_cast<size_t>(Below(static_cast<int>(all.size())))];
  }

  std::string Fragment() {
    std::string text = OneOf(kFragments), out;
    std::string one = Below(4) == 0 ? Path() : Existing(), two = Below(2) == 0 ? Path() : Existing();
    // cp copies into itself what has smaller inode numbers than the directory that it makes, and then gives up.
    if (text.starts_with("cp -aT")) {
      two = two.substr(0, two.find('/'));
      if (one.substr(0, one.find('/')) == two) two += ".copy";
    }
    named_.insert(named_.end(), {one, two});
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      ++i;
      out += text[i] == '1' ? one : text[i] == '2' ? two : std::string(1, text[i]);
    }
    return out;
  }

  // --- Edits -----------------------------------------------------------------------------------------

  // Of every other edit, what the step names.
  std::string Somewhere() {
    return Below(2) == 0 ? Path() : named_[static_cast<size_t>(Below(static_cast<int>(named_.size())))];
  }

  std::string Edit(std::vector<Layer>& edited, int number) {
    std::vector<size_t> copies;
    for (size_t i = 0; i < edited.size(); ++i)
      if (edited[i].kind == LayerBelow::Kind::kTraced) copies.push_back(i);
    size_t chosen = copies[static_cast<size_t>(Below(static_cast<int>(copies.size())))];
    Layer& layer = edited[chosen];
    std::string what = fmt::format("layer {}: ", chosen);
    if (copies.size() > 1 && Below(10) == 0) {
      size_t other = copies[static_cast<size_t>(Below(static_cast<int>(copies.size())))];
      layer.files = edited[other].files;
      what += fmt::format("as layer {}", other);
    } else {
      for (int n = 1 + Below(2); n > 0; --n) what += EditFiles(layer.files) + " ";
    }
    Materialise(layer, Below(3) == 0 ? "" : fmt::format("edit {}", number));
    return what;
  }

  std::string EditFiles(Files& files) {
    std::string path = "w/" + Somewhere();
    if (!files.contains(path)) {
      if (files.size() < 2) return Add(files, Somewhere());
      path = std::next(files.begin(), 1 + Below(static_cast<int>(files.size()) - 1))->first;
    }
    if (path == "w") return "nothing";
    File& file = files.at(path);
    bool regular = file.node.type == NodeType::kFile, link = file.node.type == NodeType::kSymlink;
    if (link && Below(2) == 0) {
      file.node.target = std::string(1, static_cast<char>('a' + Below(4)));
      return "link " + path;
    }
    // Mostly what people do to their sources. A COPY's owner hardly ever changes, nor does a mode.
    switch (Below(12)) {
      case 0:
        return Add(files, Somewhere());
      case 1:
        Remove(files, path);
        return "remove " + path;
      case 2:
        if (Below(2) == 0) {
          file.node.uid = static_cast<uint32_t>(Below(3)), file.node.gid = 5;
          return "chown " + path;
        }
        if (!link) file.node.mode = 0600 | static_cast<uint32_t>(Below(64));
        return "chmod " + path;
      case 4:
        return Add(files, path.substr(2) + "/" + OneOf(kNames));
      case 5:
        Remove(files, path);
        return "replace: " + Add(files, path.substr(2));
      case 6:
      case 7:  // as long as before
        if (!regular) return "nothing";
        for (char& c : file.content) c = c == '\n' ? c : c == '9' ? '8' : '9';
        file = Regular(file.content, file.node.mode);
        return "rewrite " + path;
      case 8:
        if (!link) return "nothing";
        file.node.target = OneOf(kTargets);
        return "link " + path;
      case 9: {  // rename
        std::string to = "w/" + OneOf(kNames);
        if (files.contains(to) || !regular) return "nothing";
        File moved = file;
        files.erase(path);
        files[to] = moved;
        return "rename " + path + " to " + to;
      }
      default:
        if (regular) file = Regular(Text(), file.node.mode);
        return "write " + path;
    }
  }

  // --- Decisions and runs ----------------------------------------------------------------------------

  engine::WeakStep WeakOf(const std::vector<Layer>& stack) {
    std::vector<LayerBelow> below;
    Digest tree = tree::EmptyTree();
    for (const Layer& layer : stack) {
      below.push_back({.layer = layer.id, .kind = layer.kind, .below = tree});
      tree = *tree::ApplyLayer(trees_, tree, IndexOf(layer.directory));
    }
    auto weak = engine::ComputeWeakStep(graph_step_, keyed_, {below}, false, trees_, *this);
    EXPECT_TRUE(weak);
    return weak ? *weak : engine::WeakStep();
  }

  // With `weak` its traced layers are traced. Stacked as snapshot::MountRootfs does it.
  Outcome RunStep(const std::vector<Layer>& stack, const engine::WeakStep* weak, const std::string& run,
                  trace::Asked* asked) {
    std::string at = root_ + "/" + run;
    for (const char* name : {"", "/upper", "/work", "/merged", "/fuse"}) mkdir((at + name).c_str(), 0755);
    std::unique_ptr<trace::TracedLayers> traced;
    std::map<DiffId, std::string> shown_by;
    if (weak != nullptr) {
      std::vector<trace::TracedLayers::Layer> layers;
      for (const auto& layer : weak->Mounted()) {
        auto lies = std::ranges::find(stack, layer.layer, &Layer::id);
        layers.push_back({lies->directory, layer.has_xattrs});
      }
      auto mounted = trace::TracedLayers::Mount(layers, at + "/fuse", exact_paths_);
      EXPECT_TRUE(mounted) << mounted.error().ToString();
      if (!mounted) return {};
      traced = std::move(*mounted);
      for (size_t i = 0; i < layers.size(); ++i) shown_by[weak->Mounted()[i].layer] = traced->Directory(i);
    }
    sys::OverlaySpec spec{.upper = at + "/upper", .work = at + "/work", .volatile_upper = true, .xino = true};
    std::set<DiffId> seen;
    for (auto layer = stack.rbegin(); layer != stack.rend(); ++layer) {
      if (!seen.insert(layer->id).second) continue;
      auto elsewhere = shown_by.find(layer->id);
      spec.lowers.push_back(elsewhere == shown_by.end() ? layer->directory : elsewhere->second);
    }
    Outcome outcome;
    {
      auto mount = sys::MountOverlay(spec, at + "/merged");
      EXPECT_TRUE(mount) << mount.error().ToString();
      if (!mount) return {};
      outcome.exit_code = Execute(at);
      EXPECT_TRUE(mount->Unmount());
    }
    if (traced) {
      auto questions = traced->Finish();
      EXPECT_TRUE(questions) << questions.error().ToString();
      if (questions) *asked = std::move(*questions);
    }
    for (const auto& entry : fs::recursive_directory_iterator(at + "/upper")) {
      struct stat st;
      EXPECT_EQ(lstat(entry.path().c_str(), &st), 0);
      std::string text = fmt::format("{:o} {}:{} ", st.st_mode, st.st_uid, st.st_gid);
      if (S_ISREG(st.st_mode)) text += WithoutChance(*ReadFile(entry.path()));
      if (S_ISLNK(st.st_mode)) text += fs::read_symlink(entry.path()).string();
      if (S_ISCHR(st.st_mode)) text += fmt::format("device {}", st.st_rdev);
      auto opaque = sys::GetXattr(entry.path(), "trusted.overlay.opaque");
      if (S_ISDIR(st.st_mode) && opaque && *opaque) text += " opaque " + **opaque;
      outcome.upper[std::string(entry.path()).substr(at.size() + 7)] = text;
    }
    return outcome;
  }

  // sed names its temporary file where it cannot make one, and what rm -r or chmod -R say of the files of a
  // directory comes in the order in which it lists them, which nothing keeps.
  static std::string WithoutChance(const std::string& text) {
    static const std::regex kTemporary("/sed[A-Za-z0-9]{6}");
    std::vector<std::string> lines = Split(std::regex_replace(text, kTemporary, "/sed"), '\n');
    auto complains_of = [](const std::string& line) { return line.substr(0, line.find(": ") + 1); };
    for (auto begin = lines.begin(); begin != lines.end();) {
      auto end = std::find_if(begin, lines.end(), [&](const std::string& line) {
        return complains_of(line) != complains_of(*begin) || complains_of(line).empty();
      });
      if (end == begin) ++end;
      std::sort(begin, end);
      begin = end;
    }
    return Join(lines, "\n");
  }

  // In w of the merged tree, with what it prints, errors too, in stdout beside it. Five seconds of CPU time are
  // for what never ends: realpath -m of some links to themselves.
  int Execute(const std::string& at) {
    std::string script = at + "/script", user = std::to_string(user_);
    EXPECT_TRUE(WriteFileAtomically(script, "umask 022\n" + step_));
    chmod(script.c_str(), 0644);
    std::string enter =
        "cd '" + at + "/merged/w' || exit 99; ulimit -t 5; exec 9< '" + script + "' > ../stdout 2>&1 < /dev/null; ";
    enter += user_ == 0 ? "exec sh /dev/fd/9"
                        : "chmod 777 ../out; exec setpriv --reuid " + user + " --regid " + user +
                              " --clear-groups sh /dev/fd/9";
    const char* argv[] = {"sh", "-c", enter.c_str(), nullptr};
    std::vector<char*> environment;
    std::string locale = "LC_ALL=C", path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", home = "HOME=/";
    environment = {locale.data(), path.data(), home.data(), nullptr};
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, "/bin/sh", nullptr, nullptr, const_cast<char* const*>(argv), environment.data()), 0);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string Describe() const {
    std::string out;
    for (const Layer& layer : stack_) {
      out += layer.kind == LayerBelow::Kind::kTraced  ? "\n copied:"
             : layer.kind == LayerBelow::Kind::kImage ? "\n image:"
                                                      : "\n made by a step:";
      for (const auto& [path, file] : layer.files)
        out += " " + path + (file.node.target.empty() ? "" : "→" + file.node.target);
    }
    return out;
  }

  static std::string Differences(const Outcome& recorded, const Outcome& real) {
    std::string text = fmt::format("exit codes {} and {}\n", recorded.exit_code, real.exit_code);
    for (const auto& [path, what] : recorded.upper) {
      auto it = real.upper.find(path);
      if (it == real.upper.end()) text += "only recorded: " + path + "\n";
      else if (it->second != what) text += path + ": " + what + " / " + it->second + "\n";
    }
    for (const auto& [path, what] : real.upper)
      if (!recorded.upper.contains(path)) text += "only real: " + path + "\n";
    return text;
  }

  std::mt19937_64 random_;
  sys::TempDir directory_;
  const std::string root_;
  const size_t exact_paths_;
  int user_ = 0;
  std::vector<Layer> stack_;  // lowest first
  std::string step_;
  std::vector<std::string> named_;  // by the step
  tree::MemoryTreeStore trees_;
  std::map<DiffId, LayerContent> contents_;
  const graph::Step graph_step_{.op = graph::Exec{}, .inputs = {}, .platform = {}, .name = "RUN it"};
  const engine::KeyedStep keyed_{.key = StepKey(Digest::Of("key")), .preimage = R"({"lineage":"p","op":{}})"};
};

// With something left out, until the first wrong hit.
Tally RunRounds(int rounds, uint8_t left_out, size_t exact_paths = trace::TracedLayers::kExactPaths) {
  Guarded<Tally> all;
  bool in_memory = access("/dev/shm", W_OK) == 0;
  auto parent = sys::TempDir::Create(in_memory ? "/dev/shm" : testing::TempDir(), "trace-random-");
  uint64_t seed = static_cast<uint64_t>(FromEnvironment("VARVE_TRACE_SEED", 1));
  std::atomic<int> next = 0;
  {
    std::vector<std::jthread> jobs;
    for (int job = FromEnvironment("VARVE_TRACE_JOBS", 4); job > 0; --job) {
      jobs.emplace_back([&] {
        for (int i; (i = next++) < rounds && !testing::Test::HasFatalFailure();) {
          if (left_out != 0 && all.Lock()->wrong > 0) break;
          Tally tally;
          Round(seed + static_cast<uint64_t>(i), parent->path(), exact_paths).Run(left_out, tally);
          *all.Lock() += tally;
        }
      });
    }
  }
  Tally tally = *all.Lock();
  std::cout << fmt::format(
      "{} decisions: {} hits, {} of them wrong; {} misses, {} of the {} that were tried needless\n", tally.decisions,
      tally.hits, tally.wrong, tally.misses, tally.needless, tally.tried);
  for (const auto& [what, count] : tally.needless_by) std::cout << fmt::format("  needless: {:5} {}\n", count, what);
  return tally;
}

struct RandomReplay : testing::Test {
  void SetUp() override {
    if (!sys::CanMount() || access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "FUSE cannot be mounted here";
    if (sys::InUserNamespace()) GTEST_SKIP() << "files of several owners cannot be made here";
  }
};

TEST_F(RandomReplay, NoHitDiffersFromARealRun) {
  Tally tally = RunRounds(FromEnvironment("VARVE_TRACE_ROUNDS", 1000), 0);
  EXPECT_EQ(tally.wrong, 0);
  EXPECT_GT(tally.hits, tally.decisions / 4);
  EXPECT_GT(tally.misses, tally.decisions / 20);
  // Of all decisions; every second miss is tried. 9.5 % with the seeds of the default.
  double needless = static_cast<double>(tally.needless) / std::max(tally.tried, 1) * tally.misses / tally.decisions;
  if (tally.decisions >= 6000) {
    EXPECT_LT(needless, 0.11);
  }
}

// Steps that are told more than they ask, as those are that ask much: nothing that they are told may be missing.
TEST_F(RandomReplay, NoHitOfAStepThatIsToldMoreDiffersFromARealRun) {
  const int rounds = FromEnvironment("VARVE_TRACE_ROUNDS", 1000) / 4;
  const int64_t ahead = Counter("trace.read_ahead").value();
  for (size_t exact_paths : {0, 4}) {
    Tally tally = RunRounds(rounds, 0, exact_paths);
    EXPECT_EQ(tally.wrong, 0) << "after " << exact_paths << " paths";
    EXPECT_GT(tally.hits, tally.decisions / 5);
  }
  EXPECT_GT(Counter("trace.read_ahead").value(), ahead) << "nothing was told";
}

// The test can see a hole: each class of questions, left out, gives wrong hits.
struct RandomReplayWithout : RandomReplay, testing::WithParamInterface<uint8_t> {};
TEST_P(RandomReplayWithout, ThisClassOfQuestionsHitsAreWrong) {
  EXPECT_GT(RunRounds(1000, GetParam()).wrong, 0) << tree::FacetNames(GetParam());
}
INSTANTIATE_TEST_SUITE_P(Facets, RandomReplayWithout,
                         testing::Values(tree::kAbsent, tree::kStat, tree::kContent, tree::kList, tree::kLink),
                         [](const auto& facet) { return tree::FacetNames(facet.param); });

}  // namespace
}  // namespace varve::exec
