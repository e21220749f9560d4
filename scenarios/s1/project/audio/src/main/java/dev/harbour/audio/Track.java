package dev.harbour.audio;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A sound file as the bot sees it. */
record Track(String identifier, String title, int channels, int sampleRate, long lengthMillis) {
  /** Reads the header of a RIFF/WAVE file: its format chunk and the size of its data. */
  static Track ofWave(String identifier, InputStream input) throws IOException {
    DataInputStream data = new DataInputStream(input);
    byte[] riff = data.readNBytes(12);
    if (riff.length < 12 || riff[0] != 'R' || riff[8] != 'W') throw new IOException(identifier + ": not a WAVE file");
    int channels = 0;
    int sampleRate = 0;
    int bytesPerSecond = 0;
    while (true) {
      ByteBuffer head = ByteBuffer.wrap(data.readNBytes(8)).order(ByteOrder.LITTLE_ENDIAN);
      if (head.limit() < 8) throw new IOException(identifier + ": ends before its sound");
      String kind = new String(head.array(), 0, 4);
      int size = head.getInt(4);
      if (kind.equals("data")) {
        if (bytesPerSecond == 0) throw new IOException(identifier + ": has no format");
        String title = identifier.replaceAll("\\.wav$", "").replace('-', ' ');
        return new Track(identifier, title, channels, sampleRate, 1000L * size / bytesPerSecond);
      }
      ByteBuffer chunk = ByteBuffer.wrap(data.readNBytes(size)).order(ByteOrder.LITTLE_ENDIAN);
      if (kind.equals("fmt ")) {
        channels = chunk.getShort(2);
        sampleRate = chunk.getInt(4);
        bytesPerSecond = chunk.getInt(8);
      }
    }
  }
}
