package dev.harbour.audio;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The folder of sound files. */
final class Library {
  private static final Logger log = LoggerFactory.getLogger(Library.class);
  private final Path folder;

  Library(Path folder) {
    this.folder = folder;
  }

  /** Tracks whose name has these words, in the order of their names. */
  List<Track> find(String words) throws IOException {
    List<Track> found = new ArrayList<>();
    if (!Files.isDirectory(folder)) return found;
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.sorted().toList()) {
        String name = file.getFileName().toString();
        if (!name.toLowerCase(Locale.ROOT).contains(words.toLowerCase(Locale.ROOT))) continue;
        try (InputStream input = Files.newInputStream(file)) {
          found.add(Track.ofWave(name, input));
        } catch (IOException error) {
          log.warn("passed over: {}", error.getMessage());
        }
      }
    }
    return found;
  }
}
