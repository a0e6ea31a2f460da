// Colors of both themes; the families' are those of pellucid/render/marks.py.

export interface Theme {
  dark: boolean;
  page: string;
  card: string;
  ink: string;
  quiet: string;
  rule: string;
  frame: string;
  frames: string[]; // by depth
  wire: string;
  accent: string;
  title: string;
  families: Record<string, string>;
}

const LIGHT: Theme = {
  dark: false,
  page: "#fbfaf8",
  card: "#ffffff",
  ink: "#1f2328",
  quiet: "#5a6169",
  rule: "#d5d2cc",
  frame: "#c4c7cc",
  frames: ["#f4f3f1", "#eceae8", "#f4f3f1", "#eceae8"],
  wire: "#7b838d",
  accent: "#0b63c4",
  title: "#ffffff",
  families: {
    convolution: "#2b5c8a", linear: "#6a4c93", attention: "#a3386c", activation: "#a04a14", normalization: "#3f6f47",
    pooling: "#7d5a00", shape: "#5c636d", arithmetic: "#2f6f78", recurrent: "#8f2f2f", other: "#4b4f55", io: "#2f343b",
    group: "#465366",
  },
};

const DARK: Theme = {
  dark: true,
  page: "#15171a",
  card: "#22262b",
  ink: "#e8e6e1",
  quiet: "#a0a7af",
  rule: "#3a4048",
  frame: "#444b54",
  frames: ["#1b1e22", "#212429", "#1b1e22", "#212429"],
  wire: "#7d8793",
  accent: "#6db3ff",
  title: "#15171a",
  families: {
    convolution: "#8fb8de", linear: "#c3a8e6", attention: "#eb9cc4", activation: "#f0a070", normalization: "#8cc79a",
    pooling: "#dcc260", shape: "#b0b5bc", arithmetic: "#7fc7d1", recurrent: "#f0938c", other: "#a6acb4", io: "#d8d5cf",
    group: "#aab8cc",
  },
};

export const FONT = '"Helvetica Neue", Arial, "Liberation Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif';

export const themeOf = (dark: boolean): Theme => (dark ? DARK : LIGHT);
