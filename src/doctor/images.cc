#include "doctor/images.h"

#include <algorithm>

#include "base/strings.h"
#include "tree/pattern.h"

namespace varve::doctor {
namespace {

std::string Under(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

// `path` seen from `folder`; empty where it is not below.
std::string Inside(const std::string& folder, const std::string& path) {
  if (folder.empty()) return path;
  return path.starts_with(folder + "/") ? path.substr(folder.size() + 1) : "";
}

// The ignore file that a build reads: the Dockerfile's own one, else the context's.
const SourceFile* IgnoreFileOf(const Project& project, const TouchedImage& image) {
  const SourceFile* own = project.Find(image.dockerfile + ".dockerignore");
  return own != nullptr ? own : project.Find(Under(image.context, ".dockerignore"));
}

bool Enters(const tree::PatternList& ignored, const std::string& path) {
  return !path.empty() && !ignored.MatchesWalking(path);
}

bool HasDefault(const SourceFile* file, const std::string& name) {
  if (file == nullptr) return false;
  auto has = [&](const dockerfile::Instruction& instruction) {
    const auto* arg = std::get_if<dockerfile::Arg>(&instruction.body);
    return arg != nullptr && std::ranges::any_of(arg->definitions, [&](const dockerfile::ArgDefinition& one) {
             return one.name == name && one.value.has_value();
           });
  };
  const dockerfile::Dockerfile& parsed = *file->dockerfile;
  return std::ranges::any_of(parsed.global_args, has) ||
         std::ranges::any_of(parsed.stages, [&](const dockerfile::Stage& stage) {
           return std::ranges::any_of(stage.instructions, has);
         });
}

TouchedImage ImageOf(const Project& project, const BuildCall& call) {
  TouchedImage image{
      .name = call.dockerfile, .context = call.context, .dockerfile = call.dockerfile, .target = call.target};
  if (!call.context_known) {
    image.unbuildable =
        fmt::format("its context in {}, line {}, is known only where it is built", call.file->path, call.line);
  }
  const SourceFile* file = project.Find(call.dockerfile);
  if (file != nullptr && !file->dockerfile) image.unbuildable = call.dockerfile + " does not parse";
  if (file == nullptr && image.unbuildable.empty()) {
    image.unbuildable = fmt::format("{} is not in the project", call.dockerfile);
  }
  if (!call.target.empty()) {
    image.name += ", target " + call.target;
    if (call.target.find('$') != call.target.npos)
      image.unbuildable = fmt::format("its target {} is known only where it is built", call.target);
  }
  for (const Argument& arg : call.args) {
    bool known = arg.value.find('$') == arg.value.npos;
    if (known || !HasDefault(project.DockerfileOf(call), arg.name)) image.args.emplace_back(arg.name, arg.value);
  }
  return image;
}

}  // namespace

std::vector<TouchedImage> ImagesTouchedBy(const Project& project, const Patch& patch) {
  std::vector<TouchedImage> all;
  std::set<std::string> called;
  for (const BuildCall& call : project.calls) {
    if (call.starts) continue;
    if (call.context_known) called.insert(call.dockerfile);
    TouchedImage image = ImageOf(project, call);
    if (std::ranges::find(all, image) == all.end()) all.push_back(std::move(image));
  }
  for (const auto& file : project.files) {
    if (file->kind != FileKind::kDockerfile || !file->dockerfile || called.contains(file->path)) continue;
    all.push_back({.name = file->path, .context = file->Folder(), .dockerfile = file->path});
  }

  std::vector<TouchedImage> touched;
  for (TouchedImage& image : all) {
    const SourceFile* ignore = IgnoreFileOf(project, image);
    std::vector<std::string> patterns;
    if (ignore != nullptr) {
      if (auto read = tree::ReadIgnoreFile(ignore->text)) patterns = std::move(*read);
    }
    tree::PatternList ignored;
    if (auto compiled = tree::PatternList::Compile(patterns)) ignored = std::move(*compiled);
    for (const ChangedFile& file : patch.files) {
      bool defines = file.path == image.dockerfile || file.path == image.dockerfile + ".dockerignore" ||
                     file.path == Under(image.context, ".dockerignore");
      if (!defines && !Enters(ignored, Inside(image.context, file.path))) continue;
      image.files.insert(file.path);
      image.definition = image.definition || defines;
    }
    if (!image.files.empty()) touched.push_back(std::move(image));
  }
  return touched;
}

}  // namespace varve::doctor
