// Exports the result of a build to everything that -o, -t, --push and --load ask for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/remote_blobs.h"
#include "export/image.h"
#include "history/build.h"
#include "job/build_display.h"
#include "job/build_flags.h"
#include "job/pusher.h"
#include "sys/tempdir.h"

namespace varve::job {

struct ExportedBuild {
  std::string image_id;                           // digest of the config, of several platforms of the index; empty
                                                  // without an image
  Json metadata;                                  // of --metadata-file
  std::vector<history::Image> images;             // of every output that made some, one a platform
  std::map<size_t, oci::Descriptor> descriptors;  // of manifests or indexes, by the position of a type=image output
};

// The outputs that the flags mean: -t without -o is an image in varve's store, --push and --load add
// or change one (reference cli.md §2). Names are checked here, before the build starts.
Result<std::vector<exporter::Output>> EffectiveOutputs(const BuildFlags& flags);

// Whether the outputs can hold a result for these platforms. To be asked before a build as well: the
// answer does not depend on it.
Status CheckOutputs(const std::vector<exporter::Output>& outputs, const std::vector<oci::Platform>& platforms,
                    bool multi_platform, const attest::Request& attest = {});

// Whether the archives, and the `files` that tell of the result, can be written where they are to go. Asked before a
// build, which may take an hour.
Status CheckDestinations(const std::vector<exporter::Output>& outputs, const std::vector<std::string>& files = {});

// Whether all layers of a result must be on this machine to write one of the outputs. A registry that is pushed to
// may have those that are not here: what it lacks is brought then.
bool NeedLayers(const std::vector<exporter::Output>& outputs, const attest::Request& attest);

// Takes the archives and files that do not stay on this machine: those of a daemon's client. `output` is
// the position in the list of outputs.
class OutputReceiver {
 public:
  virtual ~OutputReceiver() = default;
  // An archive. `metadata` is what is known of the image before its bytes are.
  virtual Status TakeStream(size_t output, const Json& metadata, const std::function<Status(Writer&)>& write,
                            std::stop_token stop) = 0;
  // For the blobs of an OCI layout (tar=false); whoever keeps them lists the image by the answer's descriptor.
  virtual Result<std::shared_ptr<RemoteBlobs>> TakesBlobs(size_t output, std::stop_token stop) = 0;
  // The files below `directory`, which is removed after the call.
  virtual Status TakeFiles(size_t output, const std::string& directory, engine::StepSink& sink,
                           std::stop_token stop) = 0;
};

// With a `receiver`, Output::dest and Output::load mean nothing: it gets all that is no image of the store
// or a registry.
Result<ExportedBuild> ExportBuild(const std::vector<exporter::Output>& outputs, const exporter::BuildResult& result,
                                  const exporter::ExportStores& stores, Pusher& pusher, const sys::LazyTempDir& scratch,
                                  progress::Board& board, std::stop_token stop, OutputReceiver* receiver = nullptr);

}  // namespace varve::job
