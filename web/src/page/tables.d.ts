// The color tables of pellucid/render/colormaps.txt, put in by build.mjs: 256 RGB rows in base64, by name.
declare module "colors:tables" {
  const tables: Record<"inferno" | "viridis" | "vik" | "berlin", string>;
  export default tables;
}
