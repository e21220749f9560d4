#include "cli/context_facts.h"

#include <filesystem>
#include <system_error>

namespace varve::cli {

namespace fs = std::filesystem;

DirectoryFacts::DirectoryFacts(const BuildContext& context, bool measure)
    : context_(context), measure_(measure) {
  // Patterns that are wrong are an error of the build's walk, which says so.
  if (auto list = tree::PatternList::Compile(context.ignore)) ignored_ = std::move(*list);
}

bool DirectoryFacts::IsIgnored(const std::string& path) const {
  return ignored_.Matches(path) && !ignored_.MayUnmatchBelow(path);
}

std::vector<DirectoryFacts::Entry> DirectoryFacts::List(const std::string& directory) {
  std::vector<Entry> out;
  std::error_code error;
  fs::path path = fs::path(context_.directory) / directory;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename();
    if (IsIgnored(directory.empty() ? name : directory + "/" + name)) continue;
    std::error_code unknown;
    bool is_directory = it->symlink_status(unknown).type() == fs::file_type::directory;
    out.push_back({std::move(name), is_directory});
  }
  return out;
}

std::optional<uint64_t> DirectoryFacts::Bytes(const std::string& path) {
  if (!measure_) return std::nullopt;
  fs::path full = fs::path(context_.directory) / path;
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(full, error))) return fs::file_size(full, error);
  uint64_t bytes = 0;
  auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(full, options, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code unknown;
    std::string inside = path + "/" + it->path().lexically_relative(full).string();
    fs::file_status status = it->symlink_status(unknown);
    if (IsIgnored(inside)) {
      if (fs::is_directory(status)) it.disable_recursion_pending();
    } else if (fs::is_regular_file(status)) {
      bytes += it->file_size(unknown);
    }
  }
  return bytes;
}

std::vector<dockerfile::CacheHint> FindHints(const dockerfile::Dockerfile& file,
                                             const BuildFlags& flags, const BuildContext& context,
                                             const std::vector<dockerfile::UsedImage>& images,
                                             bool measure) {
  std::optional<std::string> check;
  for (const auto& [name, value] : flags.build_args) {
    if (name == "BUILDKIT_DOCKERFILE_CHECK") check = value;
  }
  auto options = dockerfile::FileCheckOptions(file.directives, check);
  if (!options) return {};  // lowering says what is wrong with them
  DirectoryFacts facts(context, measure);
  dockerfile::CacheCheckInput input{.options = std::move(*options), .build_args = flags.build_args,
                                    .context = &facts};
  for (const auto& [name, value] : flags.build_contexts) input.named_contexts.push_back(name);
  for (const dockerfile::UsedImage& image : images) {
    input.digests[image.reference] = image.manifest_digest.ToString();
  }
  return dockerfile::CheckCaching(file, input);
}

}  // namespace varve::cli
