// The pages of cameras and events, which are loaded when the first of them is looked at.

import './styles/streams.css';

export { EventPage } from './pages/event.tsx';
export { Events } from './pages/events.tsx';
export { StreamPage } from './pages/stream.tsx';
export { Streams } from './pages/streams.tsx';
