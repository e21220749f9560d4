import type { Command } from './command.js';

interface Track {
  title: string;
  lengthMillis: number;
}

export const play: Command = {
  name: 'play',
  description: 'Looks a track up on the audio server and plays it',
  run: async (context, argument) => {
    const url = new URL('/loadtracks', context.settings.AUDIO_URL);
    url.searchParams.set('identifier', argument);
    const answer = await fetch(url);
    if (!answer.ok) return `the audio server says ${answer.status}`;
    const tracks = (await answer.json()) as Track[];
    if (tracks.length === 0) return `nothing found for ${argument}`;
    return `playing ${tracks[0].title} (${Math.round(tracks[0].lengthMillis / 1000)} s)`;
  },
};
