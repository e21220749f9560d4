// What Dockerfile instructions do to an image's config (reference exporters.md §10).
#pragma once

#include <string>
#include <vector>

#include "oci/image_config.h"

namespace varve::dockerfile {

// What a stage takes over from its base image: the members that images of this format have, without
// `created`. Members of old formats (container_config) and of builders (inline cache) describe the
// base image, not what is built from it.
oci::ImageConfig InheritConfig(const oci::ImageConfig& base);

// Sets a list member of "config"; an empty list removes it, as Docker's documents leave it out.
void SetList(oci::ImageConfig& config, std::string_view member, const std::vector<std::string>& items);

void AddOnBuild(oci::ImageConfig& config, const std::string& trigger);

// Gives a config without PATH the default one; Windows has its own.
void EnsurePath(oci::ImageConfig& config);

// What the shell form of a command is given to.
std::vector<std::string> ShellOf(const oci::ImageConfig& config);

// The platform that was asked for becomes the result's, whatever the base image says.
void SetResultPlatform(oci::ImageConfig& config, const oci::Platform& target);

}  // namespace varve::dockerfile
