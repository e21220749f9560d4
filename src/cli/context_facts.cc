#include "cli/context_facts.h"

#include <optional>

#include "doctor/context_facts.h"

namespace varve::cli {

std::vector<dockerfile::CacheHint> FindHints(const dockerfile::Dockerfile& file, const job::BuildFlags& flags,
                                             const job::BuildContext& context,
                                             const std::vector<dockerfile::UsedImage>& images, bool measure) {
  std::optional<std::string> check;
  for (const auto& [name, value] : flags.build_args) {
    if (name == "BUILDKIT_DOCKERFILE_CHECK") check = value;
  }
  auto options = dockerfile::FileCheckOptions(file.directives, check);
  if (!options) return {};  // lowering says what is wrong with them
  doctor::DirectoryFacts facts(context.directory, context.ignore, context.ignore_file, measure);
  dockerfile::CacheCheckInput input{.options = std::move(*options), .build_args = flags.build_args, .context = &facts};
  for (const auto& [name, value] : flags.build_contexts) input.named_contexts.push_back(name);
  for (const dockerfile::UsedImage& image : images) {
    input.digests[image.reference] = image.manifest_digest.ToString();
  }
  return dockerfile::CheckCaching(file, input);
}

}  // namespace varve::cli
